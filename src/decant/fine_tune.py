"""Train the teacher on the target task, and beside it a network from scratch: what the pretraining is worth.

With `fine_tune.folds` above 1 the teacher is an ensemble, one model for each fold of a cross-validation.

python -m decant.fine_tune [fine_tune.epochs=1 trainer=cpu]
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig

from decant import compatible, folds, run, tables
from decant.adapt import Adapt
from decant.config import piece, settings
from decant.learner import Learner
from decant.modality import Batch
from decant.sections import FineTune
from decant.task import Task
from decant.tracking import Run, rank
from decant.train import PRETRAINED, train

OUT = Path("data/fine_tune")


class FineTuner(Learner):
    """Supervised training."""

    def terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """The supervised loss alone."""
        return {"loss": self.task.loss(logits, batch["target"], self.knobs.label_smoothing)}


def main(cfg: DictConfig, tracked: Run) -> None:
    """Write the teacher to data/fine_tune/ and the control to data/fine_tune/control/."""
    compatible.check(cfg)
    knobs: FineTune = settings(cfg, "fine_tune")
    adapt: Adapt = piece(cfg, "adapt")
    if warning := smoothed(knobs.label_smoothing, piece(cfg, "loss").needs):
        print(warning, flush=True)
    examples = tables.read().examples()
    longer = dataclasses.replace(knobs, epochs=knobs.control_epochs)
    if knobs.folds > 1:
        cross_validate(cfg, knobs, adapt, tracked)
    else:
        print("teacher", flush=True)
        with run.replacing(OUT) as folder:
            train(cfg, knobs, PRETRAINED / "teacher", folder, tracked, FineTuner, adapt)
        tracked.model("teacher", OUT, examples)
    print("control: from scratch", flush=True)
    with tracked.child("fine-tune control") as control:
        with run.replacing(OUT / "control") as folder:
            train(cfg, longer, PRETRAINED / "scratch", folder, control, FineTuner, splits=("test",))
        control.model("control", OUT / "control", examples)


def cross_validate(cfg: DictConfig, knobs: FineTune, adapt: Adapt, tracked: Run) -> None:
    """Write a teacher for each fold to data/fine_tune/fold_<i>/, and what they say together to data/fine_tune/."""
    prepared = tables.read()
    task: Task = piece(cfg, "task")
    fold = folds.parts(prepared, task, knobs.folds, cfg.seed)
    if adapt.tunes:
        folds.check_batch(fold, knobs.batch_size)
    with run.replacing(OUT) as folder:
        for number in range(1, knobs.folds + 1):
            print(f"teacher, fold {number} of {knobs.folds}", flush=True)
            with tracked.child(f"fine-tune fold {number}") as child:
                one = folder / folds.name(number)
                seen = partial(folds.without, fold, number)
                train(cfg, knobs, PRETRAINED / "teacher", one, child, FineTuner, adapt, seen)
                child.model("teacher", one, prepared.examples())
        if rank() == 0:
            folds.combine(folder, fold, prepared, task)


def smoothed(smoothing: float, needs: Sequence[str]) -> str:
    """A warning where a teacher is smoothed that a loss `needs` (Müller et al. 2019, arXiv:1906.02629); else empty."""
    if not smoothing or not needs:
        return ""
    return (
        f"fine_tune.label_smoothing is {smoothing}: a teacher so trained distils worse, because smoothing erases from "
        "its logits how alike the wrong classes are, which is what the student learns from; 0 is better here"
    )


if __name__ == "__main__":
    run.stage("fine_tune", main)
