"""The training of a student, with or without a teacher."""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from decant.augment import Augment
from decant.augment.none import NoAugmentation
from decant.config.schema import Distill, Export, Trainer
from decant.core import manifest
from decant.core.errors import UserError
from decant.core.hashing import sha256
from decant.dataset.modality import Row
from decant.dataset.prepared import Prepared
from decant.distillation.distiller import Distiller
from decant.distillation.export.formats import metric_drop, report_metrics
from decant.distillation.online_teacher import OnlineTeacher
from decant.distillation.student_init import initial_student
from decant.distillation.weight_pruning import PrunedDistiller
from decant.loss import Loss
from decant.models import predictions
from decant.models.logits_storage import SOFT_TARGET_SPLITS
from decant.models.predictions import FILE
from decant.task import Task
from decant.tracking.runs import Run
from decant.training.job import PRETRAINED, Rows, TrainingJob, labelled_rows
from decant.training.train import train

TEACHER = Path("data/fine_tune")
SCORED = ("validation", "test")
"""The splits of the student's predictions; nothing reads those on train."""


@dataclass(frozen=True, kw_only=True)
class StudentTraining:
    """Trains a student on the labels, and on the outputs of the teacher in data/fine_tune/ if `loss` needs them."""

    prepared: Prepared
    task: Task
    loss: Loss
    hparams: Distill
    augment: Augment
    seed: int
    trainer: Trainer
    run: Run

    def train(self, folder: Path, splits: Sequence[str] = SCORED) -> None:
        """Write the student's model directory, with predictions on `splits`."""
        with tempfile.TemporaryDirectory() as scratch:
            student = PRETRAINED / "student"
            init_dir = initial_student(self.hparams, student, TEACHER, self.prepared, Path(scratch))
            self._train_from(init_dir, folder, splits, Distiller)

    def prune(self, folder: Path, settings: Export) -> None:
        """Prune the student in `folder`, train it further in the same way, and replace it."""
        print(f"pruning {settings.prune:.0%} of the weights", flush=True)
        with tempfile.TemporaryDirectory() as scratch, self.run.child("distill pruned") as run:
            unpruned = Path(shutil.copytree(folder, Path(scratch) / "unpruned"))
            shutil.copy(PRETRAINED / "student/manifest.json", unpruned)
            manifest.write(unpruned)
            hparams = self.hparams.model_copy(update={"epochs": settings.prune_epochs})
            training = dataclasses.replace(self, hparams=hparams, run=run)
            training._train_from(unpruned, folder, SCORED, partial(PrunedDistiller, share=settings.prune))
            report_metrics("pruned", metric_drop(unpruned, folder, self.prepared, self.task.scoring), self.run)

    def _train_from(
        self, init_dir: Path, folder: Path, splits: Sequence[str], learner: Callable[..., Distiller]
    ) -> None:
        teacher = self.online_teacher(init_dir)
        with_teacher = teacher_rows if teacher else self.rows_with_soft_targets
        job = TrainingJob(
            prepared=self.prepared,
            objective=self.task.objective,
            init_dir=init_dir,
            hparams=self.hparams,
            seed=self.seed,
            trainer=self.trainer,
            run=self.run,
            augment=self.augment,
            learner=partial(learner, loss=self.loss, teacher=teacher),
            select_rows=with_teacher if self.loss.needs else labelled_rows,
        )
        train(job, folder, splits)

    def online_teacher(self, init_dir: Path) -> OnlineTeacher | None:
        """The teacher that runs with the student, where stored logits are not enough.

        Raises:
            UserError: an augmentation of tokens that the teacher cannot read.
        """
        if not self.loss.needs or not (self.hparams.online_teacher or set(self.loss.needs) - {"logits"}):
            return None
        encoder = self.prepared.modality.encoder(init_dir, self.hparams.max_length)
        teacher = OnlineTeacher(TEACHER, self.prepared, encoder)
        if not teacher.aligned and not isinstance(self.augment, NoAugmentation):
            raise UserError(
                "the augmentation changes the student's tokens, which the online teacher does not know; choose augment "
                "none, or a student with the teacher's tokenizer"
            )
        return teacher

    def rows_with_soft_targets(self, rows: Rows, prepared: Prepared) -> list[Row]:
        """The rows to train on with stored logits: those of the teacher, or of all teachers combined."""
        folders = [TEACHER, *(checked_teacher(folder, digest) for folder, digest in self.hparams.teachers.items())]
        for split in (s for s in SOFT_TARGET_SPLITS if s in rows):
            ids, digest = prepared.ids(split), prepared.digests[split]
            logits = [predictions.read(folder, split, ids, digest) for folder in folders]
            combined = logits[0] if len(logits) == 1 else self.task.objective.ensemble(np.stack(logits))
            for row, soft in zip(rows[split], combined, strict=True):
                row.soft = soft
        return teacher_rows(rows, prepared)


def teacher_rows(rows: Rows, prepared: Prepared) -> list[Row]:
    """The rows to train on with a teacher: labelled and unlabelled ones, numbered."""
    selected = rows["train"] + rows.get("unlabelled", [])
    for number, row in enumerate(selected):
        row.number = number
    return selected


def checked_teacher(folder: str, digest: str) -> Path:
    """The folder of a further teacher.

    Raises:
        UserError: its predictions are not those whose sha256 params.yaml holds.
    """
    actual = sha256(Path(folder) / FILE)
    if actual != digest:
        raise UserError(
            f"distill.teachers: sha256 of {folder}/{FILE} is {actual}, expected {digest}; restore the file, or, if it "
            "is what you mean, put its sha256 into params.yaml"
        )
    return Path(folder)
