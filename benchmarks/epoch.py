"""What a teacher costs the training of its student: seconds of an epoch beside those of the student alone.

DECANT_DATA=<folder> python benchmarks/epoch.py banking77 [rounds=5] [key=value ...]

The stages before run in the workspace of benchmarks/students.py, unless they have. Rounds take turns: one epoch alone,
one with stored predictions, one with the teacher beside, each on train alone, with its validation. Written to
benchmarks/epoch.md.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

import sections
from study import BARE, Study, Variant

from decant import distill
from decant.config import compose
from decant.core.files import read_json
from decant.core.stage import keep_memory, quiet, threads
from decant.evaluation.report import markdown_table
from decant.loss import Loss
from decant.loss.none import NoDistillation
from decant.tracking.runs import Run

KINDS = {"alone": "none", "stored predictions": "kd", "teacher beside": "hint"}
COLUMNS = ("student trained", "seconds per epoch, median", "each", "times alone, median of rounds")


class Seconds(Run):
    """Keeps how long an epoch took."""

    epoch = 0.0

    def log_metrics(self, metrics: object, step: int = 0) -> None:
        """See `Run.log_metrics`."""
        if isinstance(metrics, dict) and "epoch_seconds" in metrics:
            self.epoch = float(metrics["epoch_seconds"])


def main(words: list[str]) -> None:
    """Measure and write the section."""
    quiet()
    (name,), values = sections.split(words)
    rounds = next((int(v.partition("=")[2]) for v in values if v.startswith("rounds=")), 5)
    values = [v for v in values if not v.startswith("rounds=")]
    whole, bare = Variant.parse(name, name), Variant.parse(BARE, name)
    study = Study([whole, bare], values, seeds=[0], ensemble=False, jobs=1)
    study.check()
    study.make(whole, ("prepare", "pretrain_load", "fine_tune"))
    study.make(bare, ("pretrain_load",))
    os.chdir(study.folder(bare, 0))
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, loss in KINDS.items():
            found[kind].append(measured([*study.words(bare, 0, "distill"), f"use.loss={loss}"]))
    sections.write("epoch.md", sections.title(name, values), section(name, values, found))


def measured(values: list[str]) -> float:
    """Seconds of one epoch on the labelled rows."""
    cfg = compose.load([*values, "distill.epochs=1"])
    threads(cfg.trainer.threads)
    keep_memory()
    loss: Loss = compose.piece(cfg, "loss")
    seconds = Seconds()
    with tempfile.TemporaryDirectory() as folder:
        knobs = compose.settings(cfg, "distill")
        distill.distil(cfg, knobs, Path(folder), seconds, loss if loss.needs else NoDistillation(), ("validation",))
    return seconds.epoch


def section(name: str, values: list[str], found: dict[str, list[float]]) -> str:
    """The table, with how it was made."""
    rows = [
        [
            kind,
            f"{statistics.median(times):.2f}",
            ", ".join(f"{t:.2f}" for t in times),
            f"{statistics.median(t / alone for t, alone in zip(times, found['alone'], strict=True)):.3f}",
        ]
        for kind, times in found.items()
    ]
    sizes = {s: c["rows"] for s, c in read_json(Path("data/prepare/card.json"))["splits"].items()}
    lines = [
        f"Experiment: conf/experiment/{name}.yaml, losses {', '.join(KINDS.values())}; {sizes['train']:,} rows, "
        "the same in each.",
        sections.machine(values),
        "",
        markdown_table(COLUMNS, rows),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
