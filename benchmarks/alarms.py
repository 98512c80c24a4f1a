"""How often `decant compare` tells apart what is the same: seeds of one experiment, on the same test rows.

python benchmarks/alarms.py name [seeds=20] [key=value ...]

Trains the student alone for each seed on the data that the experiment's own seed has split, compares each two seeds by
their rows, and random groups of five seeds by their means. Written to benchmarks/alarms.md.
"""

import shutil
import sys
from itertools import combinations

import numpy as np
import sections
from experiments import execute

from decant.commands import compare
from decant.config import compose
from decant.dataset.prepared import PREPARED, read_prepared
from decant.distill import OUT
from decant.evaluation.report import markdown_table
from decant.models.predictions import read_split
from decant.task import Scoring

GROUP, GROUPS = 5, 2000
LEVELS = (0.95, 0.9)
COLUMNS = ("compared", "pairs", *(f"told apart at {level:.0%}" for level in LEVELS))


def main(words: list[str]) -> None:
    """Train what is missing and write the section."""
    names, values = sections.split(words)
    seeds = next((int(w.partition("=")[2]) for w in values if w.startswith("seeds=")), 20)
    values = [w for w in values if not w.startswith("seeds=")] + ["use.loss=none"]
    title = sections.title(names[0], values)
    folder = sections.workspace(f"alarms-{title}")
    for stage in ("prepare", "pretrain_load"):
        if not (folder / "data" / stage).exists():
            execute(stage, names[0], values, folder)
    for seed in range(seeds):
        made = folder / f"seed_{seed}"
        if not made.exists():
            execute("distill", names[0], [*values, f"seed={seed}"], folder)
            shutil.move(folder / OUT, made)
    cfg = compose.load([*compose.experiment(names[0], sections.ROOT), *values], sections.ROOT)
    scoring: Scoring = compose.piece(cfg, "task").scoring
    knobs = compose.settings(cfg, "evaluate")
    prepared = read_prepared(folder / PREPARED)
    target = np.stack(prepared.frames["test"]["target"].to_list())
    logits = [read_split(folder / f"seed_{s}", "test", prepared) for s in range(seeds)]
    sums = [scoring.sufficient_statistics(values, target) for values in logits]
    scores = scoring.primary_metric_from(np.stack([s.sum(0) for s in sums]))
    rows = [compare.compare_rows(a, b, scoring, knobs, 0) for a, b in combinations(sums, 2)]
    draw = np.random.default_rng(0)
    shuffled = [draw.permutation(scores)[: 2 * GROUP] for _ in range(GROUPS)]
    means = [compare.compare_seeds(s[:GROUP], s[GROUP:], knobs) for s in shuffled]
    told = [
        [kind, f"{len(found):,}", *(f"{100 * share(found, level):.1f} %" for level in LEVELS)]
        for kind, found in (("two seeds, by rows", rows), (f"{GROUP} and {GROUP} seeds, by means", means))
    ]
    spread = f"{100 * scores.mean():.2f} ± {100 * scores.std(ddof=1):.2f}"
    head = (
        f"The student alone over {seeds} seeds: {scoring.primary_metric} x 100 is {spread} on {len(target):,} test "
        "rows. Pairs overlap, so these shares are of one experiment, not of many."
    )
    sections.write("alarms.md", title, "\n".join([head, sections.machine(values), "", markdown_table(COLUMNS, told)]))


def share(found: list[compare.Comparison], confidence: float) -> float:
    """How many are told apart at a level, by their p-value."""
    return float(np.mean([f.p < 1 - confidence for f in found]))


if __name__ == "__main__":
    main(sys.argv[1:])
