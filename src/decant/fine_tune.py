"""Train the teacher on the target task, and beside it a network from scratch: what the pretraining is worth.

python -m decant.fine_tune [fine_tune.epochs=1 trainer=cpu]
"""

import dataclasses
from pathlib import Path

import torch
from omegaconf import DictConfig

from decant import run
from decant.config import Training, settings
from decant.datamodule import Batch
from decant.learner import PRETRAINED, Learner, examples, train
from decant.tracking import Run

OUT = Path("data/fine_tune")


class FineTuner(Learner):
    """Supervised training."""

    def terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """The supervised loss alone."""
        return {"loss": self.task.loss(logits, batch["target"])}


def main(cfg: DictConfig, tracked: Run) -> None:
    """Write the teacher to data/fine_tune/ and the control to data/fine_tune/control/."""
    knobs: Training = settings(cfg, "fine_tune")
    longer = dataclasses.replace(knobs, epochs=knobs.control_epochs)
    print("teacher", flush=True)
    with run.replacing(OUT) as folder:
        train(cfg, knobs, PRETRAINED / "teacher", folder, tracked, FineTuner)
    tracked.model("teacher", OUT, examples())
    print("control: from scratch", flush=True)
    with tracked.child("fine-tune control") as control:
        with run.replacing(OUT / "control") as folder:
            train(cfg, longer, PRETRAINED / "scratch", folder, control, FineTuner, splits=("test",))
        control.model("control", OUT / "control", examples())


if __name__ == "__main__":
    run.stage("fine_tune", main)
