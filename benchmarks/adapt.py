"""Quality over seeds and cost of every adaptation on few labels, written to benchmarks/adapt.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/adapt.py [set ...] [key=value ...]

Default: all of SETS, over SEEDS unless a seed is given. A set is a file of conf/experiment/; key=value changes it. The
control `scratch` is the experiment's network without pretraining.
"""

import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import sections
import workspaces

from decant import fine_tune, prepare, pretrain_load
from decant.core.stage import keep_freed_memory, pin_threads
from decant.dataset.prepared import Prepared
from decant.evaluation.report import markdown_table
from decant.models.predictions import read_split
from decant.task import Scoring
from decant.tracking.runs import Run
from decant.training.job import PRETRAINED
from decant.training.train import train

SEEDS = (0, 1, 2)
SETS: dict[str, dict[str, list[str]]] = {
    "banking77_few": {
        "full": [],
        "head": [],
        "probe_then_full": [],
        "gradual": [],
        "layerwise": [],
        "lora": ["fine_tune.lr=1.0e-3"],
        "scratch": [],
    },
    "banking77_few_masked": {"full": [], "head": [], "scratch": []},
    "cats_vs_dogs": {"head": [], "mlp_head": [], "probe_then_full": []},
    "reuters": {"probe_then_full": []},
    "hymenoptera": {
        "full": [],
        "head": [],
        "probe_then_full": [],
        "gradual": [],
        "layerwise": [],
        "scratch": [],
    },
}
"""{experiment: {adaptation: what it changes of the experiment}}."""
COLUMNS = ("adaptation", "test %, mean ± std over seeds", "each seed", "seconds per epoch", "epochs", "seconds in all")


class Measurement(NamedTuple):
    """One training with one seed."""

    score: float
    """Primary metric on test, times 100."""
    epoch_seconds: float
    epochs: int
    seconds: float


Measurements = dict[str, list[Measurement]]
"""One for each seed, by adaptation."""


def main(arguments: list[str]) -> None:
    """Run each set and write its section."""
    names, overrides = sections.split_arguments(arguments)
    for name in names or list(SETS):
        folder = workspaces.workspace(f"adapt-{name}")
        os.chdir(folder)
        measurements: Measurements = {adapt: [] for adapt in SETS[name]}
        for seed in seeds(overrides):
            write_inputs(name, [*overrides, f"seed={seed}"])
            for adapt in SETS[name]:
                measurements[adapt].append(measure(name, adapt, [*overrides, f"seed={seed}"]))
        lines = section(name, overrides, measurements, folder)
        sections.write("adapt.md", sections.title(name, overrides), lines)


def seeds(overrides: Sequence[str]) -> Sequence[int]:
    """The seeds on the command line, or SEEDS."""
    return [int(v.removeprefix("seed=")) for v in overrides if v.startswith("seed=")] or SEEDS


def write_inputs(name: str, overrides: Sequence[str]) -> None:
    """Run the stages before fine-tune in the working directory."""
    experiment = workspaces.load(name, overrides)
    pin_threads(experiment.trainer.threads)
    keep_freed_memory()
    prepare.main(experiment, Run())
    pretrain_load.main(experiment, Run())


def measure(name: str, adapt: str, overrides: Sequence[str]) -> Measurement:
    """Train with one adaptation in the working directory."""
    component, role = ("full", "scratch") if adapt == "scratch" else (adapt, "teacher")
    experiment = workspaces.load(name, [*overrides, f"use.adapt={component}", *SETS[name][adapt]])
    run, start = workspaces.RecordedRun(), time.perf_counter()
    job = dataclasses.replace(fine_tune.teacher_job(experiment, run), init_dir=PRETRAINED / role)
    with tempfile.TemporaryDirectory() as folder:
        train(job, Path(folder), splits=["test"])
        seconds = time.perf_counter() - start
        score = test_score(Path(folder), job.prepared, experiment.task.scoring)
    return Measurement(score, run.metrics["epoch_seconds"][-1], len(run.metrics["validation/loss"]), seconds)


def test_score(folder: Path, prepared: Prepared, scoring: Scoring) -> float:
    """The primary metric of a model directory on test, times 100."""
    return 100 * scoring.score(read_split(folder, "test", prepared), workspaces.test_targets(prepared))


def section(name: str, overrides: Sequence[str], measurements: Measurements, folder: Path) -> list[str]:
    """The lines of one set: its table, and how it was measured."""
    changes = ", ".join(f"{adapt}: `{' '.join(overrides)}`" for adapt, overrides in SETS[name].items() if overrides)
    return [
        f"{workspaces.describe_rows(folder)} Seeds: {', '.join(map(str, seeds(overrides)))}.",
        sections.machine(overrides),
        f"Experiment: conf/experiment/{name}.yaml{changes and f'; {changes}'}.",
        "Seconds: median over seeds; per epoch with its validation; in all with features, test and saving.",
        *cost_of_head({adapt: epoch_seconds(runs) for adapt, runs in measurements.items()}),
        "",
        markdown_table(COLUMNS, [row(adapt, runs) for adapt, runs in measurements.items()]),
    ]


def cost_of_head(seconds: dict[str, float]) -> list[str]:
    """How much cheaper an epoch of the head is than one of all weights, if both were measured."""
    if not {"full", "head"} <= seconds.keys():
        return []
    return [f"An epoch of head costs {seconds['full'] / seconds['head']:.0f} times less than one of full."]


def epoch_seconds(runs: Sequence[Measurement]) -> float:
    """Median over seeds."""
    return statistics.median(run.epoch_seconds for run in runs)


def row(adapt: str, runs: Sequence[Measurement]) -> list[str]:
    """The cells of one adaptation under COLUMNS."""
    return [
        adapt,
        sections.mean_and_std([run.score for run in runs], digits=1),
        ", ".join(f"{run.score:.1f}" for run in runs),
        f"{epoch_seconds(runs):.3f}",
        f"{runs[0].epochs}",
        f"{statistics.median(run.seconds for run in runs):.0f}",
    ]


if __name__ == "__main__":
    sections.run(main, __doc__)
