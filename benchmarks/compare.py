"""What a change is worth: two experiments of benchmarks/experiments.md, model by model, in benchmarks/compare.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/compare.py "default" "default fine_tune.folds=5"

Reads the stored predictions of both experiments, which need equal test rows; nothing is trained.
"""

from pathlib import Path

import sections
import workspaces

from decant.config.schema import Evaluate
from decant.core.errors import UserError
from decant.dataset.prepared import PREPARED, read_prepared
from decant.evaluation import bootstrap
from decant.evaluation.report import markdown_table
from decant.evaluation.scored_models import NETWORKS
from decant.models.predictions import read_split
from decant.task import Scoring

COLUMNS = ("model", "before", "after", "difference", "interval")


def main(arguments: list[str]) -> None:
    """Write the section of a pair."""
    if len(arguments) != 2:
        raise UserError(f"found {len(arguments)} arguments, expected two section titles of benchmarks/experiments.md")
    before, after = arguments
    name, *changes = before.split()
    experiment = workspaces.load(name, changes)
    scoring, settings = experiment.task.scoring, experiment.evaluate
    folders = [finished_workspace(title) for title in (before, after)]
    rows = compare_models(folders[0], folders[1], scoring, settings, experiment.seed)
    count = workspaces.row_counts(folders[0])["test"]
    lines = [
        f"Before: `{before}`; after: `{after}`. {scoring.primary_metric.capitalize()} x 100 on {count:,} test rows; "
        f"paired bootstrap, {settings.confidence:.0%}; one run each, so the intervals do not include the spread over "
        "seeds.",
        sections.machine([]),
        "",
        markdown_table(COLUMNS, rows),
    ]
    sections.write("compare.md", f"{after} against {before}", lines)


def finished_workspace(title: str) -> Path:
    """The workspace of an experiment.

    Raises:
        UserError: it has not run.
    """
    folder = workspaces.workspace_path(title)
    if not folder.is_dir():
        raise UserError(f"there is no {folder}; run: python benchmarks/experiments.py {title}")
    return folder


def compare_models(before: Path, after: Path, scoring: Scoring, settings: Evaluate, seed: int) -> list[list[str]]:
    """The cells of each model that both workspaces have, under COLUMNS."""
    prepared = read_prepared(before / PREPARED)
    targets = workspaces.test_targets(prepared)
    rows = []
    for role, path in NETWORKS.items():
        if not all((folder / path).is_dir() for folder in (before, after)):
            continue  # without distillation there is no student_alone
        logits = [read_split(folder / path, "test", prepared) for folder in (before, after)]
        statistics = [scoring.sufficient_statistics(values, targets) for values in logits]
        old, new = (bootstrap.resample(s, scoring, settings, seed) for s in statistics)
        compared = bootstrap.compare_pair(new, old, settings.confidence)
        difference, low, high = (f"{100 * compared[key]:+.1f}" for key in ("difference", "low", "high"))
        rows.append([role, f"{100 * old.score:.1f}", f"{100 * new.score:.1f}", difference, f"[{low}, {high}]"])
    return rows


if __name__ == "__main__":
    sections.run(main, __doc__)
