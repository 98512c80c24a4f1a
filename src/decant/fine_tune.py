"""Train the teacher on the target task, and beside it a network from scratch: what the pretraining is worth.

With `fine_tune.folds` or `fine_tune.seeds` above 1 the teacher is an ensemble, one model for each fold or seed.

python -m decant.fine_tune [fine_tune.epochs=1 trainer=cpu]
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig

from decant.adapt import Adapt
from decant.config.compose import piece, settings
from decant.config.schema import FineTune
from decant.core.files import replacing
from decant.core.processes import rank
from decant.dataset.modality import Batch
from decant.dataset.prepared import check_batch_sizes, read_prepared
from decant.experiment import compatible, stage
from decant.models.logits_storage import Storage
from decant.task import Task
from decant.tracking.runs import Run
from decant.training import ensemble
from decant.training.learner import Learner
from decant.training.train import PRETRAINED, labelled, train

OUT = Path("data/fine_tune")
SEEDS = 1000
"""Between the seeds of the teachers of one experiment and those of the next."""


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
    prepared = read_prepared()
    check_batch_sizes(len(prepared.frames["train"]), {s: cfg[s].batch_size for s in ("fine_tune", "distill")})
    examples = prepared.examples()
    longer = dataclasses.replace(knobs, epochs=knobs.control_epochs)
    storage = Storage("float16" if knobs.half_logits else "float32", knobs.top_logits)
    if knobs.folds > 1 or knobs.seeds > 1:
        several(cfg, knobs, adapt, tracked, storage)
    else:
        print("teacher", flush=True)
        with replacing(OUT) as folder:
            train(cfg, knobs, PRETRAINED / "teacher", folder, tracked, FineTuner, adapt, storage=storage)
        tracked.model("teacher", OUT, examples)
    print("control: from scratch", flush=True)
    with tracked.child("fine-tune control") as control:
        with replacing(OUT / "control") as folder:
            train(cfg, longer, PRETRAINED / "scratch", folder, control, FineTuner, splits=("test",))
        control.model("control", OUT / "control", examples)


def several(cfg: DictConfig, knobs: FineTune, adapt: Adapt, tracked: Run, storage: Storage) -> None:
    """Write a teacher for each fold or seed to data/fine_tune/, and what they say together beside them."""
    prepared = read_prepared()
    task: Task = piece(cfg, "task")
    kind, count = ("fold", knobs.folds) if knobs.folds > 1 else ("seed", knobs.seeds)
    fold = ensemble.parts(prepared, task, count, cfg.seed) if kind == "fold" else None
    if adapt.tunes and fold is not None:
        ensemble.check_batch(fold, knobs.batch_size)
    with replacing(OUT) as folder:
        for number in range(1, count + 1):
            print(f"teacher, {kind} {number} of {count}", flush=True)
            with tracked.child(f"fine-tune {kind} {number}") as child:
                one = folder / f"{kind}_{number}"
                seen = labelled if fold is None else partial(ensemble.without, fold, number)
                # seeds of their own, and none that a neighbouring experiment has
                seed = cfg.seed if fold is not None else cfg.seed * SEEDS + number
                train(cfg, knobs, PRETRAINED / "teacher", one, child, FineTuner, adapt, seen, seed=seed)
                child.model("teacher", one, prepared.examples())
        if rank() == 0:
            ensemble.combine(folder, fold, prepared, task, storage)


def smoothed(smoothing: float, needs: Sequence[str]) -> str:
    """A warning where a teacher is smoothed that a loss `needs` (Müller et al. 2019, arXiv:1906.02629); else empty."""
    if not smoothing or not needs:
        return ""
    return (
        f"fine_tune.label_smoothing is {smoothing}: a teacher so trained distils worse, because smoothing erases from "
        "its logits how alike the wrong classes are, which is what the student learns from; 0 is better here"
    )


if __name__ == "__main__":
    stage.stage("fine_tune", main)
