"""Train the student on the teacher's stored predictions, and beside it the same student alone.

python -m decant.distill [distill.epochs=1 use.loss=none trainer=cpu]
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from decant import compatible, run, tables
from decant.config import piece, settings
from decant.learner import Learner
from decant.loss import Loss
from decant.loss.none import Alone
from decant.modality import Batch, Row
from decant.model import read_predictions
from decant.sections import Controlled
from decant.tables import Prepared
from decant.tracking import Run
from decant.train import PRETRAINED, Rows, labelled, train

OUT = Path("data/distill")
TEACHER = Path("data/fine_tune/predictions.parquet")


class Distiller(Learner):
    """Trains a student on hard labels and on what a `Loss` says of the teacher's logits."""

    def __init__(self, *args: Any, loss: Loss) -> None:
        super().__init__(*args)
        self.distillation = loss

    def terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Every raw and weighted term, and their sum."""
        raw = {"hard": self.task.loss(logits, batch["target"], self.knobs.label_smoothing)}
        if self.distillation.needs:
            raw |= self.distillation(logits, batch["soft"], self.task)
        weighted = {f"{k}_weighted": self.distillation.weights[k] * v for k, v in raw.items()}
        return {"loss": torch.stack(list(weighted.values())).sum(), **raw, **weighted}


def main(cfg: DictConfig, tracked: Run) -> None:
    """Write the student to data/distill/ and, unless it is alone anyway, the control to data/distill/control/.

    Alone means the same in both places: `control_epochs`.
    """
    compatible.check(cfg)
    knobs: Controlled = settings(cfg, "distill")
    loss: Loss = piece(cfg, "loss")
    examples = tables.read().examples()
    longer = dataclasses.replace(knobs, epochs=knobs.control_epochs)
    print(f"student: {cfg.use.loss}", flush=True)
    with run.replacing(OUT) as folder:
        distil(cfg, knobs if loss.needs else longer, folder, tracked, loss, ("validation", "test"))
    tracked.model("student", OUT, examples)
    if loss.needs:
        print("control: the student alone", flush=True)
        with tracked.child("distill control") as control:
            with run.replacing(OUT / "control") as folder:
                distil(cfg, longer, folder, control, Alone(), ("test",))
            control.model("control", OUT / "control", examples)


def distil(cfg: DictConfig, knobs: Controlled, folder: Path, tracked: Run, loss: Loss, splits: Sequence[str]) -> None:
    """Train a student with `loss` and write its model directory."""
    build = partial(Distiller, loss=loss)
    chosen = softened if loss.needs else labelled
    train(cfg, knobs, PRETRAINED / "student", folder, tracked, build, chosen=chosen, splits=splits)


def softened(rows: Rows, prepared: Prepared) -> list[Row]:
    """The rows to train on with a teacher, unlabelled ones too, with its logits."""
    for split in ("train", "unlabelled"):
        if split in rows:
            logits = read_predictions(TEACHER, split, prepared.ids(split), prepared.digests[split])
            for row, soft in zip(rows[split], logits, strict=True):
                row.soft = soft
    return rows["train"] + rows.get("unlabelled", [])


if __name__ == "__main__":
    run.stage("distill", main)
