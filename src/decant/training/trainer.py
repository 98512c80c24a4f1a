"""Lightning's trainer around a learner: device, selection of the epoch, averaging of weights, what is logged."""

import logging
import os
import statistics
import sys
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers.logger import Logger
from transformers import PreTrainedModel

from decant.config.schema import Training, section
from decant.core.errors import UserError
from decant.tracking.runs import Run
from decant.training.callbacks import Best, Clock, Diverged, Draws, Ema, EpochLine, Guard
from decant.training.checkpoint import Keep
from decant.training.datamodule import Data
from decant.training.learner import Learner

for name in ("pytorch_lightning", "lightning.pytorch"):
    logging.getLogger(name).setLevel(logging.WARNING)  # it greets, and names its products


class RunLogger(Logger):
    """Passes Lightning's metrics to our run; Lightning's own MLflow logger opens and closes runs itself."""

    def __init__(self, run: Run, prefix: str = "") -> None:
        super().__init__()
        self.run, self.prefix = run, prefix

    @property
    def name(self) -> str:  # noqa: D102
        return "mlflow"

    @property
    def version(self) -> str:  # noqa: D102
        return self.run.run_id or ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the stage logged its config."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # noqa: D102
        if metrics := {f"{self.prefix}{k}": v for k, v in metrics.items() if k != "epoch"}:
            self.run.log_metrics(metrics, step or 0)


def fit(learner: Learner, data: Data, epochs: int, cfg: DictConfig, tracked: Run, prefix: str = "") -> PreTrainedModel:
    """Train for `epochs`; the network comes back with the weights of the best epoch.

    `prefix` goes before the names of what is logged, for a phase that is not the last.

    Raises:
        UserError: weights, or figures on validation, that are not finite.
    """
    best, clock = Best(learner.task, len(data.validation)), Clock()
    averaging = [Ema(learner.knobs.ema)] if learner.knobs.ema else []
    keep = Keep(tracked.state_dir / f"{prefix}fit", cfg.trainer.save_minutes) if tracked.state_dir else None
    bar = sys.stdout.isatty()
    trainer = made(
        **hardware(cfg),
        max_epochs=epochs,
        logger=RunLogger(tracked, prefix),
        callbacks=[
            *(Draws(cfg.seed), learner.means, best, *averaging, RichProgressBar() if bar else EpochLine(), clock),
            *(Guard(), *([keep] if keep else [])),  # last: what the others hold is then of the same moment
        ],
        enable_progress_bar=bar,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,  # LengthBuckets shares the batches
        deterministic=True,
        num_sanity_val_steps=0,
    )
    try:
        trainer.fit(learner, data, ckpt_path=keep.latest() if keep else None, weights_only=True)
    except Diverged as error:
        kept = keep.said() if keep else "nothing was kept"
        raise UserError(f"{error}; {advice(learner.knobs, prefix)}; {kept}") from error
    torch.manual_seed(cfg.seed)  # whether it went on or ran in one piece, what comes after draws the same
    if not best.weights or not all(v.isfinite().all() for v in best.weights.values()):
        raise UserError(f"no epoch ended with figures on validation that are finite; {advice(learner.knobs, prefix)}")
    learner.network.load_state_dict(best.weights)
    found = {f"best/{learner.task.monitor}": best.score, "best/epoch": best.epoch + 1}
    found |= {"epoch_seconds": statistics.median(clock.seconds)}
    tracked.log_metrics({f"{prefix}{k}": v for k, v in found.items()})
    return learner.network.to(trainer.strategy.root_device)


def made(**how: Any) -> pl.Trainer:
    """Lightning's trainer.

    Raises:
        UserError: hardware that Lightning does not know.
    """
    try:
        return pl.Trainer(**how)
    except (MisconfigurationException, ValueError) as error:
        raise UserError(f"Lightning refuses the trainer: {error}; correct conf/trainer/, or choose another") from error


def advice(knobs: Training, prefix: str = "") -> str:
    """What to do where a training diverged; `prefix`: of a phase that is not the last, a probe."""
    if prefix:
        return f"lower the lr of the {prefix.strip('/')} (now {knobs.lr:g}) in conf/adapt/"
    name = section(knobs)
    return f"lower {name}.lr (now {knobs.lr:g}) or {name}.clip (now {knobs.clip:g}) in params.yaml, which starts anew"


def hardware(cfg: DictConfig) -> dict[str, Any]:
    """Arguments of Lightning's trainer from conf/trainer/, with `precision: auto` resolved.

    Raises:
        UserError: a device that this machine does not have.
    """
    chosen = OmegaConf.to_container(cfg.trainer)
    assert isinstance(chosen, dict)
    for own in ("threads", "save_minutes"):
        chosen.pop(own)
    chosen["accumulate_grad_batches"] = chosen.pop("accumulate")
    count, devices = torch.cuda.device_count(), chosen["devices"]
    wanted = max(devices) + 1 if isinstance(devices, list) else int(devices)
    if chosen["accelerator"] == "gpu" and wanted > count > 0:
        raise UserError(f"trainer.devices is {devices}, but this machine shows {count} GPUs")
    if chosen["accelerator"] == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer asks for a GPU, but this machine shows none; use trainer=auto or trainer=cpu")
    if chosen["precision"] == "auto":
        gpu = chosen["accelerator"] != "cpu" and torch.cuda.is_available()
        chosen["precision"] = "bf16-mixed" if bfloat16(gpu) else "32-true"
    return {str(k): v for k, v in chosen.items()}


def device(cfg: DictConfig) -> torch.device:
    """The device of this process, for work before the trainer takes over."""
    if cfg.trainer.accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0)))
    devices = cfg.trainer.devices
    return torch.device("cuda", devices[local] if isinstance(devices, ListConfig) else local)


def bfloat16(gpu: bool) -> bool:
    """Whether the device multiplies bfloat16 natively; where it is emulated it is slower than fp32."""
    if gpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
