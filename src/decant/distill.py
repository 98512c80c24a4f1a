"""Train the student with its teacher's help, and beside it the same student alone; hand on files to serve it with.

python -m decant.distill [distill.epochs=1 use.loss=none trainer=cpu]
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from decant.augment.none import NoAugmentation
from decant.config.compose import piece, settings
from decant.config.schema import Distill, Export
from decant.core.errors import UserError
from decant.core.files import replacing
from decant.core.processes import rank
from decant.dataset.modality import Row
from decant.dataset.prepared import Prepared, check_batch_sizes, read_prepared
from decant.distillation import student_init
from decant.distillation.distiller import Distiller
from decant.distillation.export import formats
from decant.distillation.online_teacher import Beside
from decant.distillation.weight_pruning import Pruned
from decant.experiment import compatible, stage
from decant.loss import Loss
from decant.loss.none import NoDistillation
from decant.models import predictions
from decant.models.logits_storage import SOFT_TARGET_SPLITS
from decant.task import Task
from decant.tracking.runs import Run
from decant.training.train import PRETRAINED, Rows, labelled, train

OUT = Path("data/distill")
TEACHER = Path("data/fine_tune")


def main(cfg: DictConfig, tracked: Run) -> None:
    """Write the student to data/distill/ and, unless it is alone anyway, the control to data/distill/control/.

    Alone means the same in both places: `control_epochs`, weights that no teacher has touched, and its own dropout,
    for what little there is to learn from it would else learn by heart.
    """
    compatible.check(cfg)
    knobs: Distill = settings(cfg, "distill")
    loss: Loss = piece(cfg, "loss")
    prepared = read_prepared()
    check_batch_sizes(len(prepared.frames["train"]), {"distill": knobs.batch_size})  # the control has these alone
    examples = prepared.examples()
    alone = dataclasses.replace(knobs, epochs=knobs.control_epochs, start="pretrained", dropout=None)
    print(f"student: {cfg.use.loss}", flush=True)
    export: Export = settings(cfg, "export")
    chosen = knobs if loss.needs else alone
    with replacing(OUT) as folder:
        distil(cfg, chosen, folder, tracked, loss, ("validation", "test"))
        if export.prune:
            pruned(cfg, chosen, folder, tracked, loss)
    if loss.needs:
        print("control: the student alone", flush=True)
        with tracked.child("distill control") as control:
            with replacing(OUT / "control") as folder:
                distil(cfg, alone, folder, control, NoDistillation(), ("test",))
            control.model("control", OUT / "control", examples)
    if rank() == 0:  # last: a file that is refused costs no training
        formats.write(cfg, OUT, read_prepared(), tracked)
    tracked.model("student", OUT, examples)


def distil(cfg: DictConfig, knobs: Distill, folder: Path, tracked: Run, loss: Loss, splits: Sequence[str]) -> None:
    """Train a student with `loss` and write its model directory."""
    prepared = read_prepared()
    with tempfile.TemporaryDirectory() as made:
        weights = PRETRAINED / "student"
        if knobs.start == "teacher":
            weights = student_init.cut(TEACHER, weights, prepared, Path(made) / "cut")
        start = student_init.start(weights, knobs, prepared, Path(made) / "start")
        teach(cfg, knobs, start, folder, tracked, loss, splits, Distiller)


def pruned(cfg: DictConfig, knobs: Distill, folder: Path, tracked: Run, loss: Loss) -> None:
    """Prune the student in `folder`, train it on in the same way, and put it in its place."""
    export: Export = settings(cfg, "export")
    print(f"pruning {export.prune:.0%} of the weights", flush=True)
    with tempfile.TemporaryDirectory() as made, tracked.child("distill pruned") as child:
        start = Path(shutil.copytree(folder, Path(made) / "start"))
        shutil.copy(PRETRAINED / "student/manifest.json", start)
        again = dataclasses.replace(knobs, epochs=export.prune_epochs)
        teach(cfg, again, start, folder, child, loss, ("validation", "test"), partial(Pruned, share=export.prune))
        formats.told("pruned", formats.figures(start, folder, read_prepared(), piece(cfg, "task")), tracked)


def teach(
    cfg: DictConfig,
    knobs: Distill,
    start: Path,
    folder: Path,
    tracked: Run,
    loss: Loss,
    splits: Sequence[str],
    learner: Callable[..., Distiller],
) -> None:
    """Train the network at `start` with a teacher's help, stored or beside it, if `loss` needs one."""
    prepared = read_prepared()
    teacher = None
    if loss.needs and (knobs.consistent or set(loss.needs) - {"logits"}):
        teacher = Beside(TEACHER, prepared, prepared.modality.encoder(start, knobs.max_length))
        if not teacher.aligned and not isinstance(piece(cfg, "augment"), NoAugmentation):
            raise UserError(
                f"augment {cfg.use.augment} changes the student's tokens, which the teacher beside it does not know; "
                "choose augment none, or a student with the teacher's tokenizer"
            )
    chosen = labelled if not loss.needs else everything if teacher else softened(cfg, knobs)
    build = partial(learner, loss=loss, teacher=teacher)
    train(cfg, knobs, start, folder, tracked, build, chosen=chosen, splits=splits)


def everything(rows: Rows, prepared: Prepared) -> list[Row]:
    """The rows to train on with a teacher, unlabelled ones too, numbered."""
    chosen = rows["train"] + rows.get("unlabelled", [])
    for number, row in enumerate(chosen):
        row.number = number
    return chosen


def softened(cfg: DictConfig, knobs: Distill) -> Callable[[Rows, Prepared], list[Row]]:
    """The rows to train on with a teacher, unlabelled ones too, with its stored logits, or those of all teachers."""
    task: Task = piece(cfg, "task")
    folders = [TEACHER, *map(Path, knobs.teachers)]

    def choose(rows: Rows, prepared: Prepared) -> list[Row]:
        for split in (s for s in SOFT_TARGET_SPLITS if s in rows):
            each = [predictions.read(f, split, prepared.ids(split), prepared.digests[split]) for f in folders]
            logits = each[0] if len(each) == 1 else task.ensemble(np.stack(each))
            for row, soft in zip(rows[split], logits, strict=True):
                row.soft = soft
        return everything(rows, prepared)

    return choose


if __name__ == "__main__":
    stage.stage("distill", main)
