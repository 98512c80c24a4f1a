"""Train the student with its teacher's help, and as a control the same student alone; export files to serve it with.

python -m decant distill [distill.epochs=1 use.loss=none trainer=cpu]
"""

import dataclasses
from pathlib import Path

from decant.core import manifest
from decant.core.files import replacing
from decant.core.processes import rank
from decant.dataset.prepared import check_batch_sizes, read_prepared
from decant.distillation.export.formats import Exporter
from decant.distillation.student_training import StudentTraining
from decant.experiment.compatible import check_compatible
from decant.experiment.experiment import Experiment
from decant.experiment.stage import run_stage
from decant.loss.none import NoDistillation
from decant.tracking.runs import Run

OUT = Path("data/distill")


def main(experiment: Experiment, run: Run) -> None:
    """Write the student to data/distill/ and, unless it has no teacher anyway, the control to data/distill/control/."""
    check_compatible(experiment)
    training = student_training(experiment, run)
    prepared, loss = training.prepared, experiment.loss
    # the control has the labelled rows alone
    check_batch_sizes(len(prepared.frames["train"]), {"distill": experiment.distill.batch_size})
    alone = without_teacher(training)
    print(f"student: {experiment.use['loss']}", flush=True)
    student = training if loss.needs else dataclasses.replace(alone, loss=loss)
    with replacing(OUT) as folder:
        student.train(folder)
        if experiment.export.prune:
            student.prune(folder, experiment.export)
    if loss.needs:
        train_control(alone)
    if rank() == 0:  # last: a file that is refused costs no training
        exporter = Exporter(
            prepared=prepared,
            scoring=experiment.task.scoring,
            settings=experiment.export,
            threads=experiment.trainer.threads,
            run=run,
        )
        exporter.export(OUT)
        manifest.write(OUT)
    run.log_model("student", OUT, prepared.examples())


def student_training(experiment: Experiment, run: Run) -> StudentTraining:
    """The training of the student with its teacher."""
    return StudentTraining(
        prepared=read_prepared(),
        task=experiment.task,
        loss=experiment.loss,
        hparams=experiment.distill,
        augment=experiment.augment,
        seed=experiment.seed,
        trainer=experiment.trainer,
        run=run,
    )


def without_teacher(training: StudentTraining) -> StudentTraining:
    """The training of the same student on the labels alone.

    It has its own budget, `control_epochs`, initial weights that no teacher has changed, and the dropout of its
    architecture, because it would otherwise memorise the few labelled rows.
    """
    epochs = training.hparams.control_epochs
    update = {"epochs": epochs, "init_from": "pretrained", "dropout": None}
    return dataclasses.replace(training, hparams=training.hparams.model_copy(update=update), loss=NoDistillation())


def train_control(alone: StudentTraining) -> None:
    """Write the student without a teacher to data/distill/control/."""
    print("control: the student without a teacher", flush=True)
    with alone.run.child("distill control") as run:
        with replacing(OUT / "control") as folder:
            dataclasses.replace(alone, run=run).train(folder, splits=("test",))
        run.log_model("control", OUT / "control", alone.prepared.examples())


if __name__ == "__main__":
    run_stage("distill", main)
