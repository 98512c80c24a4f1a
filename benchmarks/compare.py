"""What a change was worth: two experiments of benchmarks/experiments.md, model by model, in benchmarks/compare.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/compare.py "support" "support fine_tune.folds=5"

Reads the stored predictions of both, which have to be of equal test rows; nothing is trained.
"""

import sys
from pathlib import Path

import numpy as np
import sections

from decant.config import compose
from decant.dataset.prepared import PREPARED, read_prepared
from decant.evaluate import NETWORKS
from decant.evaluation import bootstrap
from decant.evaluation.report import markdown_table
from decant.models.predictions import read_split
from decant.task import Scoring

COLUMNS = ("model", "before", "after", "difference", "interval")


def main(before: str, after: str) -> None:
    """Write the section of a pair."""
    name, *values = before.split()
    cfg = compose.load([*compose.experiment(name, sections.ROOT), *values], sections.ROOT)
    scoring: Scoring = compose.piece(cfg, "task").scoring
    knobs = compose.settings(cfg, "evaluate")
    prepared = read_prepared(place(before, PREPARED))
    target = np.stack(prepared.frames["test"]["target"].to_list())
    rows = []
    for role, folder in NETWORKS.items():
        if not all(place(title, folder).is_dir() for title in (before, after)):
            continue  # a student alone has no control
        old, new = (read_split(place(title, folder), "test", prepared) for title in (before, after))
        statistics = [scoring.sufficient_statistics(logits, target) for logits in (new, old)]
        samples = [bootstrap.resample(values, scoring, knobs, cfg.seed) for values in statistics]
        found = bootstrap.compare_pair(samples[0], samples[1], knobs.confidence)
        scores = [100 * sample.score for sample in samples[::-1]]
        rows.append([role, *(f"{s:.1f}" for s in scores), f"{100 * found['difference']:+.1f}",
                     f"[{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"])  # fmt: skip
    lines = [
        f"Before: `{before}`; after: `{after}`. {scoring.primary_metric.capitalize()} x 100 on {len(target):,} test "
        f"rows; paired bootstrap, {knobs.confidence:.0%}; one run each, so the intervals lack the spread over seeds.",
        sections.machine([]),
        "",
        markdown_table(COLUMNS, rows),
    ]
    sections.write("compare.md", f"{after} against {before}", "\n".join(lines))


def place(title: str, folder: Path) -> Path:
    """Where the experiment of a section left a model."""
    made = sections.place(title)
    if not made.is_dir():
        sys.exit(f"no {made}; make it first: python benchmarks/experiments.py {title}")
    return made / folder


if __name__ == "__main__":
    main(*sys.argv[1:])
