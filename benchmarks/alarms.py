"""False positives of `decant compare`: how often it finds a difference between seeds of one experiment.

python benchmarks/alarms.py <experiment> [seeds=20] [key=value ...]

Trains the student without a teacher for each seed, on the splits of the experiment's own seed. Compares every pair of
seeds by their test rows, and random groups of five seeds by their means. Written to benchmarks/alarms.md.
"""

import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import sections
import workspaces

from decant.commands.compare import Comparison, compare_rows, compare_seeds
from decant.config.schema import Evaluate
from decant.dataset.prepared import PREPARED, read_prepared
from decant.distill import OUT
from decant.evaluation.report import markdown_table
from decant.models.predictions import read_split
from decant.task import Scoring

GROUP, GROUPS = 5, 2000
"""Seeds in a group, and the number of random pairs of groups."""
LEVELS = (0.95, 0.9)
COLUMNS = ("compared", "pairs", *(f"significant at {level:.0%}" for level in LEVELS))


def main(arguments: list[str]) -> None:
    """Train the seeds that are missing and write the section."""
    names, values = sections.split_arguments(arguments)
    name = sections.one_name(names)
    options, overrides = sections.split_options(values, ["seeds"])
    overrides.append("use.loss=none")
    title = sections.title(name, overrides)
    folder = workspaces.workspace(f"alarms-{title}")
    students = train_students(name, overrides, sections.number(options, "seeds", 20), folder)
    lines = section(name, overrides, students, folder)
    sections.write("alarms.md", title, lines)


def train_students(name: str, overrides: Sequence[str], seeds: int, folder: Path) -> list[Path]:
    """The model directory of each seed; those that exist are not trained again."""
    for stage in ("prepare", "pretrain_load"):
        if not (folder / "data" / stage).exists():
            workspaces.run_stage(stage, workspaces.all_overrides(name, overrides), folder)
    students = [folder / f"seed_{seed}" for seed in range(seeds)]
    for seed, student in enumerate(students):
        if not student.exists():
            workspaces.run_stage("distill", workspaces.all_overrides(name, [*overrides, f"seed={seed}"]), folder)
            shutil.move(folder / OUT, student)
    return students


def section(name: str, overrides: Sequence[str], students: Sequence[Path], folder: Path) -> list[str]:
    """The lines of one experiment: its table, and how it was measured."""
    experiment, prepared = workspaces.load(name, overrides), read_prepared(folder / PREPARED)
    scoring, targets = experiment.task.scoring, workspaces.test_targets(prepared)
    statistics = [scoring.sufficient_statistics(read_split(s, "test", prepared), targets) for s in students]
    scores = scoring.primary_metric_from(np.stack([s.sum(0) for s in statistics]))
    comparisons = {
        "two seeds, by rows": compare_by_rows(statistics, scoring, experiment.evaluate),
        f"{GROUP} and {GROUP} seeds, by means": compare_by_means(scores, experiment.evaluate),
    }
    rows = [[title, f"{len(pairs):,}", *significant_shares(pairs)] for title, pairs in comparisons.items()]
    return [
        f"The student without a teacher over {len(students)} seeds: {scoring.primary_metric} x 100 is "
        f"{sections.mean_and_std(list(100 * scores))} on {len(targets):,} test rows. Pairs overlap: these shares "
        "are of one experiment, not of many.",
        sections.machine(overrides),
        "",
        markdown_table(COLUMNS, rows),
    ]


def compare_by_rows(statistics: Sequence[np.ndarray], scoring: Scoring, settings: Evaluate) -> list[Comparison]:
    """Every pair of seeds, from their sufficient statistics (N, K)."""
    return [compare_rows(a, b, scoring, settings, seed=0) for a, b in combinations(statistics, 2)]


def compare_by_means(scores: np.ndarray, settings: Evaluate) -> list[Comparison]:
    """Random pairs of groups of seeds, from the primary metric (S,) of each seed."""
    generator = np.random.default_rng(0)
    samples = [generator.permutation(scores)[: 2 * GROUP] for _ in range(GROUPS)]
    return [compare_seeds(s[:GROUP], s[GROUP:], settings) for s in samples]


def significant_shares(comparisons: Sequence[Comparison]) -> list[str]:
    """The share of comparisons that are significant at each of LEVELS."""
    p = np.array([comparison.p for comparison in comparisons])
    return [f"{100 * np.mean(p < 1 - level):.1f} %" for level in LEVELS]


if __name__ == "__main__":
    sections.run(main, __doc__)
