"""Lightning's trainer around a learner: device, selection of the epoch, averaging of weights, what is logged."""

import logging
import math
import os
import statistics
import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, RichProgressBar
from pytorch_lightning.loggers.logger import Logger
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PreTrainedModel

from decant import UserError
from decant.datamodule import Data
from decant.learner import Learner
from decant.task import Task
from decant.tracking import Run

for name in ("pytorch_lightning", "lightning.pytorch"):
    logging.getLogger(name).setLevel(logging.WARNING)  # it greets, and names its products


class Best(Callback):
    """Keeps the weights of the last epoch that is as good on validation as the best, in memory.

    As good: within one standard error of the best so far (Breiman et al. 1984). A small validation set
    cannot tell such epochs apart, and the later one has learned at a lower rate.
    """

    def __init__(self, task: Task, rows: int) -> None:
        self.task, self.rows = task, rows
        self.top, self.score, self.epoch = -math.inf, 0.0, -1
        self.weights: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        assert isinstance(pl_module, Learner)
        score = float(trainer.callback_metrics[f"validation/{self.task.monitor}"])
        self.top = max(self.top, score)
        if score >= self.top - self.task.standard_error(self.top, self.rows):
            self.score, self.epoch = score, trainer.current_epoch
            weights = pl_module.network.state_dict()
            self.weights = {k: v.detach().cpu().clone() for k, v in weights.items()}


class Ema(Callback):
    """Averages the weights over steps, exponentially; validation, and so `Best`, sees the average.

    After n steps the decay is at most (1 + n) / (10 + n), as in TensorFlow: else a short training ends with an
    average that is mostly the start.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def blend(self, average: Any, current: Any, steps: torch.Tensor | int) -> None:
        """Move the tensors of `average` towards `current`, in place."""
        if not average[0].is_floating_point():  # positions and counts have no average
            torch._foreach_copy_(average, current)
            return
        count = int(steps)
        decay = min(self.decay, (1 + count) / (10 + count))
        get_ema_multi_avg_fn(decay)(average, current, steps)  # type: ignore[no-untyped-call]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        assert isinstance(pl_module, Learner)
        self.average = AveragedModel(pl_module.network, multi_avg_fn=self.blend, use_buffers=True)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:  # noqa: D102
        assert isinstance(pl_module, Learner)
        self.average.update_parameters(pl_module.network)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        assert isinstance(pl_module, Learner)
        self.current = {k: v.clone() for k, v in pl_module.network.state_dict().items()}
        pl_module.network.load_state_dict(self.average.module.state_dict())

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        assert isinstance(pl_module, Learner)
        pl_module.network.load_state_dict(self.current)


class Clock(Callback):
    """Wall time of the epochs, validation included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.seconds.append(time.perf_counter() - self.started)


class EpochLine(Callback):
    """A plain line per epoch, for logs: no terminal, no bar."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.is_global_zero:
            values = [f"{k} {float(v):.4f}" for k, v in sorted(trainer.callback_metrics.items())]
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {', '.join(values)}", flush=True)


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
            self.run.metrics(metrics, step or 0)


def fit(learner: Learner, data: Data, epochs: int, cfg: DictConfig, tracked: Run, prefix: str = "") -> PreTrainedModel:
    """Train for `epochs`; the network comes back with the weights of the best epoch.

    `prefix` goes before the names of what is logged, for a phase that is not the last.

    Raises:
        UserError: weights, or figures on validation, that are not finite.
    """
    best, clock = Best(learner.task, len(data.validation)), Clock()
    averaging = [Ema(learner.knobs.ema)] if learner.knobs.ema else []
    bar = sys.stdout.isatty()
    trainer = pl.Trainer(
        **hardware(cfg),
        max_epochs=epochs,
        logger=RunLogger(tracked, prefix),
        callbacks=[best, *averaging, RichProgressBar() if bar else EpochLine(), clock],
        enable_progress_bar=bar,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,  # LengthBuckets shares the batches
        deterministic=True,
        num_sanity_val_steps=0,
    )
    trainer.fit(learner, data)
    if not best.weights or not all(v.isfinite().all() for v in best.weights.values()):
        raise UserError("the trained network is not finite; lower lr or clip of this stage in params.yaml")
    learner.network.load_state_dict(best.weights)
    found = {f"best/{learner.task.monitor}": best.score, "best/epoch": best.epoch + 1}
    found |= {"epoch_seconds": statistics.median(clock.seconds)}
    tracked.metrics({f"{prefix}{k}": v for k, v in found.items()})
    return learner.network.to(trainer.strategy.root_device)


def hardware(cfg: DictConfig) -> dict[str, Any]:
    """Arguments of Lightning's trainer from conf/trainer/, with `precision: auto` resolved.

    Raises:
        UserError: a device that this machine does not have.
    """
    chosen = OmegaConf.to_container(cfg.trainer)
    assert isinstance(chosen, dict)
    chosen.pop("threads")
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
