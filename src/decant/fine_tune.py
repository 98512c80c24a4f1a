"""Train the teacher on the target task, and as a control a network from scratch: what the pretraining is worth.

With `fine_tune.folds` or `fine_tune.seeds` above 1 the teacher is an ensemble, one model for each fold or seed.

python -m decant fine_tune [fine_tune.epochs=1 trainer=cpu]
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from decant.config.schema import FineTune
from decant.core import manifest
from decant.core.files import replacing
from decant.core.processes import rank
from decant.dataset.prepared import check_batch_sizes, read_prepared
from decant.experiment.compatible import check_compatible
from decant.experiment.experiment import Experiment
from decant.experiment.stage import run_stage
from decant.models.logits_storage import Storage
from decant.task import Target
from decant.tracking.runs import Run
from decant.training.adaptation import Adapt
from decant.training.ensemble import (
    assign_folds,
    check_fold_batch,
    combine_predictions,
    member_seed,
    rows_outside_fold,
)
from decant.training.job import PRETRAINED, TrainingJob, labelled_rows
from decant.training.train import train

OUT = Path("data/fine_tune")


def main(experiment: Experiment, run: Run) -> None:
    """Write the teacher to data/fine_tune/ and the control to data/fine_tune/control/."""
    check_compatible(experiment)
    hparams = experiment.fine_tune
    if warning := smoothing_warning(hparams.label_smoothing, experiment.loss.needs):
        print(warning, flush=True)
    job = teacher_job(experiment, run)
    batch_sizes = {"fine_tune": hparams.batch_size, "distill": experiment.distill.batch_size}
    check_batch_sizes(len(job.prepared.frames["train"]), batch_sizes)
    storage = Storage(hparams.logits_dtype, hparams.top_k_logits)
    if hparams.folds > 1 or hparams.seeds > 1:
        train_ensemble(job, experiment.task.target, hparams, storage)
    else:
        print("teacher", flush=True)
        with replacing(OUT) as folder:
            train(job, folder, storage=storage)
        run.log_model("teacher", OUT, job.prepared.examples())
    train_control(job, hparams.control_epochs)
    if rank() == 0:
        manifest.write(OUT)


def teacher_job(experiment: Experiment, run: Run) -> TrainingJob:
    """The training of the teacher."""
    return TrainingJob(
        prepared=read_prepared(),
        objective=experiment.task.objective,
        init_dir=PRETRAINED / "teacher",
        hparams=experiment.fine_tune,
        seed=experiment.seed,
        trainer=experiment.trainer,
        run=run,
        adapt=experiment.adapt,
        augment=experiment.augment,
    )


def train_control(job: TrainingJob, epochs: int) -> None:
    """Write the network from scratch to data/fine_tune/control/."""
    print("control: from scratch", flush=True)
    hparams = job.hparams.model_copy(update={"epochs": epochs})
    with job.run.child("fine-tune control") as run:
        control = dataclasses.replace(job, init_dir=PRETRAINED / "scratch", hparams=hparams, adapt=Adapt(), run=run)
        with replacing(OUT / "control") as folder:
            train(control, folder, splits=("test",))
        run.log_model("control", OUT / "control", job.prepared.examples())


def train_ensemble(job: TrainingJob, target: Target, hparams: FineTune, storage: Storage) -> None:
    """Write a teacher for each fold or seed to data/fine_tune/, and their combined predictions."""
    kind, count = ("fold", hparams.folds) if hparams.folds > 1 else ("seed", hparams.seeds)
    fold_of_row = assign_folds(job.prepared, target, count, job.seed) if kind == "fold" else None
    if job.adapt.trains_backbone and fold_of_row is not None:
        check_fold_batch(fold_of_row, job.hparams.batch_size)
    with replacing(OUT) as folder:
        for number in range(1, count + 1):
            print(f"teacher, {kind} {number} of {count}", flush=True)
            with job.run.child(f"fine-tune {kind} {number}") as run:
                if fold_of_row is None:
                    seed, rows = member_seed(job.seed, number), labelled_rows
                else:
                    seed, rows = job.seed, partial(rows_outside_fold, fold_of_row, number)
                member = folder / f"{kind}_{number}"
                train(dataclasses.replace(job, seed=seed, select_rows=rows, run=run), member)
                run.log_model("teacher", member, job.prepared.examples())
        if rank() == 0:
            combine_predictions(folder, fold_of_row, job.prepared, job.objective, storage)


def smoothing_warning(smoothing: float, needs: Sequence[str]) -> str:
    """A warning where a teacher that a loss `needs` is smoothed (Müller et al. 2019, arXiv:1906.02629); else empty."""
    if not smoothing or not needs:
        return ""
    return (
        f"fine_tune.label_smoothing is {smoothing}: a teacher so trained distils worse, because smoothing removes from "
        "its logits how similar the wrong classes are, which the student learns from; 0 is better here"
    )


if __name__ == "__main__":
    run_stage("fine_tune", main)
