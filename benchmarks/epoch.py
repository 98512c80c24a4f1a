"""What a teacher costs the training of its student: seconds per epoch with and without it.

DECANT_DATA=<folder> python benchmarks/epoch.py <experiment> [rounds=5] [key=value ...]

Each round trains one epoch without a teacher, one with stored predictions and one with the online teacher, each on the
labelled rows and with its validation. The earlier stages run in the workspace of benchmarks/students.py, unless they
have run there before. Written to benchmarks/epoch.md.
"""

import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import sections
import workspaces
from study import NO_UNLABELLED, Study, Variant

from decant import distill
from decant.core.stage import keep_freed_memory, pin_threads
from decant.evaluation.report import markdown_table
from decant.experiment.experiment import Experiment

ALONE = "student alone"
LOSSES = {ALONE: "none", "stored predictions": "kd", "online teacher": "hint"}
"""{title of the row: the loss that trains that way}."""
COLUMNS = ("training", "seconds per epoch, median", "each round", "relative to student alone, median of rounds")


def main(arguments: list[str]) -> None:
    """Measure and write the section."""
    names, values = sections.split_arguments(arguments)
    name = sections.one_name(names)
    options, overrides = sections.split_options(values, ["rounds"])
    rounds = sections.number(options, "rounds", 5)
    full, labelled = Variant.parse(name, name), Variant.parse(NO_UNLABELLED, name)
    study = Study([full, labelled], overrides, seeds=[0], ensemble=False, jobs=1)
    study.check()
    study.run(full, ("prepare", "pretrain_load", "fine_tune"))
    study.run(labelled, ("pretrain_load",))
    folder = study.workspace(labelled, 0)
    os.chdir(folder)
    seconds: dict[str, list[float]] = {training: [] for training in LOSSES}
    for _ in range(rounds):
        for training, loss in LOSSES.items():
            changes = [*study.overrides(labelled, 0, "distill"), f"use.loss={loss}", "distill.epochs=1"]
            seconds[training].append(epoch_seconds(Experiment.load(changes)))
    sections.write("epoch.md", sections.title(name, overrides), section(name, overrides, seconds, folder))


def epoch_seconds(experiment: Experiment) -> float:
    """Train the student for one epoch in the working directory; its seconds."""
    pin_threads(experiment.trainer.threads)
    keep_freed_memory()
    run = workspaces.RecordedRun()
    with tempfile.TemporaryDirectory() as folder:
        distill.student_training(experiment, run).train(Path(folder), ("validation",))
    return run.metrics["epoch_seconds"][-1]


def section(name: str, overrides: Sequence[str], seconds: dict[str, list[float]], folder: Path) -> list[str]:
    """The lines of one experiment: its table, and how it was measured."""
    rows = [
        [
            training,
            f"{statistics.median(times):.2f}",
            ", ".join(f"{t:.2f}" for t in times),
            f"{statistics.median(t / alone for t, alone in zip(times, seconds[ALONE], strict=True)):.3f}",
        ]
        for training, times in seconds.items()
    ]
    return [
        f"Experiment: conf/experiment/{name}.yaml, losses {', '.join(LOSSES.values())}; the same "
        f"{workspaces.row_counts(folder)['train']:,} rows in each.",
        sections.machine(overrides),
        "",
        markdown_table(COLUMNS, rows),
    ]


if __name__ == "__main__":
    sections.run(main, __doc__)
