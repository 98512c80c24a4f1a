"""Every adaptation on few labels: quality over seeds and cost, written to benchmarks/adapt.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/adapt.py [set ...] [key=value ...]

Default: all of SETS, over SEEDS unless a seed is given. The experiment is conf/experiment/<set>.yaml, values change
it; `scratch` is its network from scratch, the control.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import sections
from omegaconf import DictConfig

from decant import prepare, pretrain_load
from decant.config import compose
from decant.core.files import read_json
from decant.core.stage import keep_memory, quiet, threads
from decant.dataset.prepared import read_prepared
from decant.evaluation.report import markdown_table
from decant.fine_tune import FineTuner
from decant.models.predictions import read_split
from decant.task import Task
from decant.tracking.runs import Run
from decant.training.train import PRETRAINED, train

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
"""Adaptations by set, with what differs from the experiment."""
COLUMNS = ("adaptation", "test %, mean ± s over seeds", "each seed", "seconds per epoch", "epochs", "seconds in all")


class Figures(Run):
    """Keeps what would go to MLflow."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, list[float]] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """See `Run.log_metrics`."""
        for key, value in metrics.items():
            self.kept.setdefault(key, []).append(value)


def main(words: list[str]) -> None:
    """Run each set and write its section."""
    quiet()
    names, values = sections.split(words)
    for name in names or list(SETS):
        os.chdir(sections.workspace(f"adapt-{name}"))
        results: dict[str, list[tuple[float, float, float, float]]] = {}
        for seed in seeds(values):
            cfg = compose.load([*compose.experiment(name), *values, f"seed={seed}"])
            threads(cfg.trainer.threads)
            keep_memory()
            prepare.main(cfg, Run())
            pretrain_load.main(cfg, Run())
            for adapt in SETS[name]:
                results.setdefault(adapt, []).append(measured(name, adapt, [*values, f"seed={seed}"]))
        sections.write("adapt.md", sections.title(name, values), section(name, values, results))


def seeds(values: list[str]) -> Sequence[int]:
    """Those of the command line, or SEEDS."""
    return [int(v.removeprefix("seed=")) for v in values if v.startswith("seed=")] or SEEDS


def measured(name: str, adapt: str, values: list[str]) -> tuple[float, float, float, float]:
    """Primary metric on test, seconds per epoch, epochs, seconds in all, of one training."""
    chosen = [f"use.adapt={'full' if adapt == 'scratch' else adapt}", *SETS[name][adapt]]
    cfg = compose.load([*compose.experiment(name), *values, *chosen])
    figures, start = Figures(), time.perf_counter()
    role = "scratch" if adapt == "scratch" else "teacher"
    with tempfile.TemporaryDirectory() as folder:
        knobs = compose.settings(cfg, "fine_tune")
        train(
            cfg,
            knobs,
            PRETRAINED / role,
            Path(folder),
            figures,
            FineTuner,
            compose.piece(cfg, "adapt"),
            splits=["test"],
        )
        seconds = time.perf_counter() - start
        score = primary_metric(cfg, Path(folder))
    epochs = len(figures.kept["validation/loss"])
    return score, figures.kept["epoch_seconds"][-1], epochs, seconds


def primary_metric(cfg: DictConfig, folder: Path) -> float:
    """The task's primary metric of a model directory on test, in percent."""
    prepared = read_prepared()
    task: Task = compose.piece(cfg, "task")
    target = np.stack(prepared.frames["test"]["target"].to_list())
    return 100 * task.scoring.score(read_split(folder, "test", prepared), target)


def section(name: str, values: list[str], results: dict[str, list[tuple[float, float, float, float]]]) -> str:
    """The table of one set, with how it was made."""
    rows = []
    for adapt, runs in results.items():
        scores, epoch, epochs, seconds = (list(column) for column in zip(*runs, strict=True))
        rows.append([
            adapt,
            f"{statistics.mean(scores):.1f}" + (f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""),
            ", ".join(f"{score:.1f}" for score in scores),
            f"{statistics.median(epoch):.3f}",
            f"{epochs[0]:.0f}",
            f"{statistics.median(seconds):.0f}",
        ])  # fmt: skip
    sizes = {s: c["rows"] for s, c in read_json(Path("data/prepare/card.json"))["splits"].items()}
    times = {row[0]: float(row[3]) for row in rows}
    differing = [f"{adapt}: `{' '.join(words)}`" for adapt, words in SETS[name].items() if words]
    lines = [
        f"Rows: {', '.join(f'{s} {n:,}' for s, n in sizes.items())}. Seeds: {', '.join(map(str, seeds(values)))}.",
        sections.machine(values),
        f"Experiment: conf/experiment/{name}.yaml{'; ' + ', '.join(differing) if differing else ''}.",
        "Seconds: median over seeds; an epoch with its validation; in all: features, test and saving included.",
        *(
            [f"An epoch of head costs {times['full'] / times['head']:.0f} times less than one of full."]
            if {"full", "head"} <= times.keys()
            else []
        ),
        "",
        markdown_table(COLUMNS, rows),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
