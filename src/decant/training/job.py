"""A training as one object: what the stages hand to `train`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedModel

from decant.augment import Augment
from decant.augment.none import NoAugmentation
from decant.config.schema import Trainer, Training
from decant.dataset.modality import Batches, Row
from decant.dataset.prepared import Prepared
from decant.task import Objective
from decant.tracking.runs import Run
from decant.training.adaptation import Adapt
from decant.training.learner import Learner, SupervisedLearner

PRETRAINED = Path("data/pretrain_load")
"""The output of pretrain-load: the initial model directory of each role."""
Rows = dict[str, list[Row]]
"""Encoded rows by split."""


class LearnerFactory(Protocol):
    """Builds the Lightning module of a training."""

    def __call__(
        self,
        network: PreTrainedModel,
        encoder: Batches,
        objective: Objective,
        hparams: Training,
        lr: float,
        adapt: Adapt,
        augment: Augment,
    ) -> Learner:
        """See `Learner`."""


def labelled_rows(rows: Rows, prepared: Prepared) -> list[Row]:
    """The rows to train on without a teacher."""
    return rows["train"]


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One training: what is trained, from where, on which rows, how, and where it is logged."""

    prepared: Prepared
    objective: Objective
    init_dir: Path
    """The model directory with the initial weights, and a manifest.json."""
    hparams: Training
    seed: int
    trainer: Trainer
    """The hardware."""
    run: Run
    adapt: Adapt = field(default_factory=Adapt)
    """Default: everything is trained from the first step on."""
    augment: Augment = field(default_factory=NoAugmentation)
    learner: LearnerFactory = SupervisedLearner
    select_rows: Callable[[Rows, Prepared], list[Row]] = labelled_rows
    """The rows to train on, from the encoded rows of all splits."""
