"""Lightning callbacks of a training: seeds, metrics, divergence, best weights, averaged weights, times, log lines.

The state of each is in its `state_dict`, so that an interrupted training resumes with it.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics import MeanMetric

State = dict[str, Any]


class PerStepSeed(Callback):
    """Seeds torch for each step and device from the seed of the training and the step's position.

    There is no generator state to save, and random numbers drawn earlier (or not, in a resumed training) do not change
    later ones.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:  # noqa: D102
        position = [self.seed, trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(position).generate_state(1)[0]))


class TrainMetrics(Callback):
    """Means of the training terms over the batches of an epoch.

    Lightning's own means start again at the batch where a training resumes; these are part of the saved state.
    """

    def __init__(self) -> None:
        self.means: dict[str, MeanMetric] = {}

    def add(self, values: Mapping[str, torch.Tensor], rows: int) -> None:
        """Add the values of a batch, each a mean over `rows`."""
        for name, value in values.items():
            # on the device of the value: reading a value waits for the device
            mean = self.means.setdefault(name, epoch_mean()).to(value.device)
            mean.update(value.detach().float().expand(rows))  # torchmetrics ignores weights where NaN stays NaN

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        means = {f"train/{name}": mean.compute() for name, mean in self.means.items()}
        pl_module.log_dict(means, logger=False)
        assert trainer.logger is not None
        # logged here: Lightning logs only after the state has been saved
        trainer.logger.log_metrics({name: float(mean) for name, mean in means.items()}, trainer.global_step - 1)
        self.means.clear()

    def state_dict(self) -> State:  # noqa: D102
        return {name: mean.cpu().state_dict() for name, mean in self.means.items()}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        for name, state in state_dict.items():
            self.means[name] = epoch_mean()
            self.means[name].load_state_dict(state)
            self.means[name].update(torch.zeros(0))  # torchmetrics warns of a mean that was never updated


def epoch_mean() -> MeanMetric:
    """A weighted mean that is saved with the training; NaN stays NaN, for `DivergenceGuard`."""
    mean = MeanMetric(nan_strategy="disable")
    mean.persistent(True)
    return mean


class DivergedError(Exception):
    """A training whose loss or weights are not finite, or whose loss has exploded."""


class DivergenceGuard(Callback):
    """Stops a training whose loss is not finite, or has exploded from one epoch to another.

    Raises:
        DivergedError: on all devices, when it happens on any.
    """

    FACTOR = 100
    """The loss has exploded when it exceeds this multiple of the first epoch's mean loss (or of 1, if that is less)."""
    CHECK_EVERY = 50
    """Batches between two checks: each waits for the device."""

    def __init__(self) -> None:
        self.first_loss = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:  # noqa: D102
        if trainer.fit_loop.epoch_loop.batch_idx % self.CHECK_EVERY == 0:
            self.check(trainer, float(outputs["loss"]), math.inf)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        loss = float(trainer.callback_metrics["train/loss"])
        self.first_loss = self.first_loss or loss
        self.check(trainer, loss, self.FACTOR * max(self.first_loss, 1.0))
        check_finite(trainer)

    def check(self, trainer: pl.Trainer, loss: float, limit: float) -> None:
        """Refuse a loss that is not below `limit`, on any device."""
        if trainer.strategy.reduce_boolean_decision(not loss < limit, all=False):
            first = f", and was {self.first_loss:.3g} in the first" if self.first_loss else ""
            raise DivergedError(f"the loss is {loss:.3g} in epoch {trainer.current_epoch + 1}{first}")

    def state_dict(self) -> State:  # noqa: D102
        return {"first_loss": self.first_loss}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        self.first_loss = state_dict["first_loss"]


def check_finite(trainer: pl.Trainer) -> None:
    """Refuse weights, statistics, parameters of a loss and averaged weights that are not finite.

    Raises:
        DivergedError: some are; the same on all devices, which learn the same.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    averages = [c.average for c in callbacks if isinstance(c, EMAWeightAveraging) and c.average is not None]
    states = [module.state_dict() for module in (trainer.lightning_module, *averages)]
    if not all(v.isfinite().all() for state in states for v in state.values() if v.is_floating_point()):
        raise DivergedError(f"weights are not finite in epoch {trainer.current_epoch + 1}")


class BestWeights(Callback):
    """Keeps, in memory, the weights of the last epoch that is as good on validation as the best.

    As good: within one standard error of the best score so far (Breiman et al. 1984). A small validation set cannot
    tell such epochs apart, and the later one was trained at a lower learning rate.
    """

    def __init__(self, network: nn.Module, monitor: str, standard_error: Callable[[float], float]) -> None:
        self.network, self.monitor, self.standard_error = network, monitor, standard_error
        self.best, self.score, self.epoch = -math.inf, 0.0, -1
        self.weights: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        score = float(trainer.callback_metrics[f"validation/{self.monitor}"])
        self.best = max(self.best, score)
        if score >= self.best - self.standard_error(self.best):
            self.score, self.epoch = score, trainer.current_epoch
            self.weights = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}

    def state_dict(self) -> State:  # noqa: D102
        return {"best": self.best, "score": self.score, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        self.__dict__ |= state_dict


class EMAWeightAveraging(Callback):
    """Averages the weights over steps, exponentially; validation, and so `BestWeights`, sees the average.

    After n steps the decay is at most (1 + n) / (10 + n), as in TensorFlow: otherwise a short training ends with an
    average that is mostly the initial weights. Lightning's callback of this name restores the current weights before
    `on_validation_end`, where the best epoch is chosen, and averages the whole module, an online teacher included.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.saved: State | None = None
        self.average: AveragedModel | None = None

    def blend(self, average: Any, current: Any, steps: torch.Tensor | int) -> None:
        """Move the tensors of `average` towards `current`, in place."""
        if not average[0].is_floating_point():  # positions and counts have no average
            torch._foreach_copy_(average, current)
            return
        count = int(steps)
        decay = min(self.decay, (1 + count) / (10 + count))
        get_ema_multi_avg_fn(decay)(average, current, steps)  # type: ignore[no-untyped-call]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.average = AveragedModel(self.network, multi_avg_fn=self.blend, use_buffers=True)
        if self.saved is not None:
            self.average.load_state_dict(self.saved)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:  # noqa: D102
        assert self.average is not None
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            self.average.update_parameters(self.network)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        assert self.average is not None
        self.current = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.module.state_dict())

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.network.load_state_dict(self.current)

    def state_dict(self) -> State:  # noqa: D102
        return {"average": self.average.state_dict()} if self.average is not None else {}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        self.saved = state_dict["average"]


class EpochTimer(Callback):
    """Wall time of the epochs, validation included; time lost with an interruption is not counted."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.elapsed = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.started = time.perf_counter() - self.elapsed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.seconds.append(time.perf_counter() - self.started)

    def state_dict(self) -> State:  # noqa: D102
        return {"seconds": self.seconds, "elapsed": time.perf_counter() - self.started}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        self.__dict__ |= state_dict


class EpochSummary(Callback):
    """Prints a plain line per epoch, for logs without a terminal."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.is_global_zero:
            values = [f"{k} {float(v):.4f}" for k, v in sorted(trainer.callback_metrics.items())]
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {', '.join(values)}", flush=True)
