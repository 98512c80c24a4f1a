"""Runs Lightning's trainer on a learner: hardware, resume, the best epoch, and what is logged."""

import logging
import os
import statistics
import sys
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, RichProgressBar
from pytorch_lightning.loggers.logger import Logger
from transformers import PreTrainedModel

from decant.config.schema import Trainer, Training
from decant.core.errors import UserError
from decant.tracking.runs import Run
from decant.training.callbacks import (
    BestWeights,
    DivergedError,
    DivergenceGuard,
    EMAWeightAveraging,
    EpochSummary,
    EpochTimer,
    PerStepSeed,
)
from decant.training.checkpoint import ResumeCheckpoint
from decant.training.datamodule import DataModule
from decant.training.job import TrainingJob
from decant.training.learner import Learner


class RunLogger(Logger):
    """Passes Lightning's metrics to a run; Lightning's own MLflow logger opens and closes runs itself."""

    def __init__(self, run: Run, prefix: str = "") -> None:
        super().__init__()
        self.run, self.prefix = run, prefix

    @property
    def name(self) -> str:  # noqa: D102
        return "mlflow"

    @property
    def version(self) -> str:  # noqa: D102
        return self.run.run_id or ""

    def log_hyperparams(self, params: object, *args: object, **kwargs: object) -> None:
        """Nothing: the stage logged its config."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # noqa: D102
        if metrics := {f"{self.prefix}{k}": v for k, v in metrics.items() if k != "epoch"}:
            self.run.log_metrics(metrics, step or 0)


def fit(learner: Learner, data: DataModule, job: TrainingJob, prefix: str = "") -> PreTrainedModel:
    """Train for the epochs of the job; the network comes back with the weights of the best epoch.

    `prefix` is added to the names of the logged metrics, for a phase that is not the last.

    Raises:
        UserError: weights, or metrics on validation, that are not finite.
    """
    network, objective = learner.network, job.objective
    best = BestWeights(network, objective.monitor, lambda score: objective.standard_error(score, len(data.validation)))
    timer = EpochTimer()
    state_dir = job.run.state_dir
    checkpoint = ResumeCheckpoint(state_dir / f"{prefix}fit", job.trainer.save_minutes) if state_dir else None
    averages = [EMAWeightAveraging(network, job.hparams.ema)] if job.hparams.ema else []
    progress = RichProgressBar() if sys.stdout.isatty() else EpochSummary()
    callbacks = [PerStepSeed(job.seed), learner.train_metrics, best, *averages, progress, timer, DivergenceGuard()]
    # the checkpoint comes last: it saves the states of the other callbacks at the same moment
    trainer = lightning_trainer(job, RunLogger(job.run, prefix), [*callbacks, *([checkpoint] if checkpoint else [])])
    try:
        resume_from = checkpoint.latest() if checkpoint else None
        trainer.fit(learner, data, ckpt_path=resume_from, weights_only=True)
    except DivergedError as error:
        state = checkpoint.describe() if checkpoint else "no state was saved"
        raise UserError(f"{error}; {divergence_advice(job.hparams, prefix)}; {state}") from error
    torch.manual_seed(job.seed)  # later random numbers are the same whether the training was resumed or not
    if not best.weights or not all(v.isfinite().all() for v in best.weights.values()):
        advice = divergence_advice(job.hparams, prefix)
        raise UserError(f"no epoch ended with metrics on validation that are finite; {advice}")
    network.load_state_dict(best.weights)
    metrics = {f"best/{objective.monitor}": best.score, "best/epoch": best.epoch + 1}
    metrics |= {"epoch_seconds": statistics.median(timer.seconds)}
    job.run.log_metrics({f"{prefix}{k}": v for k, v in metrics.items()})
    return network.to(trainer.strategy.root_device)


def lightning_trainer(job: TrainingJob, logger: Logger, callbacks: list[Callback]) -> pl.Trainer:
    """Lightning's trainer on the hardware of the job.

    Raises:
        UserError: hardware that Lightning does not know.
    """
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)  # it greets, and advertises
    try:
        return pl.Trainer(
            **trainer_arguments(job.trainer),
            max_epochs=job.hparams.epochs,
            logger=logger,
            callbacks=callbacks,
            enable_progress_bar=sys.stdout.isatty(),
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,  # LengthBuckets divides the batches
            deterministic=True,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ValueError) as error:
        raise UserError(f"Lightning refuses the trainer: {error}; correct conf/trainer/, or choose another") from error


def divergence_advice(hparams: Training, prefix: str = "") -> str:
    """The next step after a training diverged; `prefix`: that of a phase that is not the last, a probe."""
    if prefix:
        return f"lower the lr of the {prefix.strip('/')} (now {hparams.lr:g}) in conf/adapt/"
    name = hparams.section
    values = f"{name}.lr (now {hparams.lr:g}) or {name}.clip (now {hparams.clip:g})"
    return f"lower {values} in params.yaml, which starts the training over"


def trainer_arguments(trainer: Trainer) -> dict[str, Any]:
    """Arguments of Lightning's trainer from conf/trainer/, with `precision: auto` resolved.

    Raises:
        UserError: a device that this machine does not have.
    """
    gpus, devices = torch.cuda.device_count(), trainer.devices
    required = max(devices) + 1 if isinstance(devices, list) else devices
    if trainer.accelerator == "gpu" and required > gpus > 0:
        raise UserError(f"trainer.devices is {devices}, but this machine shows {gpus} GPUs")
    if trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer asks for a GPU, but this machine shows none; use trainer=auto or trainer=cpu")
    arguments = trainer.model_dump(exclude={"threads", "save_minutes", "accumulate"})
    arguments["accumulate_grad_batches"] = trainer.accumulate
    if trainer.precision == "auto":
        on_gpu = trainer.accelerator != "cpu" and torch.cuda.is_available()
        arguments["precision"] = "bf16-mixed" if has_bfloat16(on_gpu) else "32-true"
    return arguments


def process_device(trainer: Trainer) -> torch.device:
    """The device of this process, for work before the trainer takes over."""
    if trainer.accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0)))
    devices = trainer.devices
    return torch.device("cuda", devices[local_rank] if isinstance(devices, list) else local_rank)


def has_bfloat16(on_gpu: bool) -> bool:
    """Whether the device multiplies bfloat16 natively; emulated it is slower than fp32."""
    if on_gpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
