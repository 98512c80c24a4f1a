"""What goes along with a training: the epoch that is kept, averages of weights, means, time, randomness, lines.

What each of them holds is in their `state_dict`: a training that was killed goes on from there.
"""

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from decant.task import Objective

if TYPE_CHECKING:
    from decant.training.learner import Learner
State = dict[str, Any]


class Draws(Callback):
    """Lets each step and device draw numbers of its own, which the seed and its place decide.

    So there is no state of a generator to lose, and nothing that was drawn before (or not, in a training that goes on)
    moves what comes after.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, *rest: Any) -> None:  # noqa: D102
        place = [self.seed, trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))


class Means(Callback):
    """Means over the batches of an epoch; Lightning's own start again at the batch where a training goes on."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[torch.Tensor, int]] = {}

    def add(self, values: Mapping[str, torch.Tensor], rows: int) -> None:
        """Take the values of a batch, each a mean over `rows`."""
        for name, value in values.items():
            total, count = self.sums.get(name, (torch.zeros(()), 0))
            # on its device: to look at a value is to wait for it
            self.sums[name] = total.to(value) + value.detach().float() * rows, count + rows

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        means = {f"train/{name}": total / count for name, (total, count) in self.sums.items()}
        means = {name: trainer.strategy.reduce(mean, reduce_op="mean") for name, mean in means.items()}
        pl_module.log_dict(means, logger=False)
        assert trainer.logger is not None
        # here, for Lightning does it only after the state has been kept
        trainer.logger.log_metrics({name: float(mean) for name, mean in means.items()}, trainer.global_step - 1)
        self.sums.clear()

    def state_dict(self) -> State:  # noqa: D102
        return {"sums": {name: (total.cpu(), count) for name, (total, count) in self.sums.items()}}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        self.sums = state_dict["sums"]


class Guard(Callback):
    """Stops a training whose loss is not finite, or has exploded from one epoch to another.

    Raises:
        Diverged: it is, on any of the devices.
    """

    TIMES = 100
    """Of the first epoch's mean loss (or of 1, where that is less): beyond this it has exploded."""

    def __init__(self) -> None:
        self.first = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:  # noqa: D102
        if trainer.fit_loop.epoch_loop.batch_idx % 50 == 0:  # each look waits for the device
            self.check(trainer, float(outputs["loss"]), math.inf)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        loss = float(trainer.callback_metrics["train/loss"])
        self.first = self.first or loss
        self.check(trainer, loss, self.TIMES * max(self.first, 1.0))
        good(trainer)

    def check(self, trainer: pl.Trainer, loss: float, most: float) -> None:
        """Of a loss, which has to be below `most`."""
        if trainer.strategy.reduce_boolean_decision(not loss < most, all=False):
            before = f", and was {self.first:.3g} in the first" if self.first else ""
            raise Diverged(f"the loss is {loss:.3g} in epoch {trainer.current_epoch + 1}{before}")

    def state_dict(self) -> State:  # noqa: D102
        return {"first": self.first}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        self.first = state_dict["first"]


def good(trainer: pl.Trainer) -> None:
    """Nothing, if all that is learned is finite: weights, statistics, what a loss learns, and averages of weights.

    Raises:
        Diverged: it is not; the same on all devices, for they learn the same.
    """
    known: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    averages = [c.average for c in known if isinstance(c, Ema) and c.average is not None]
    states = [module.state_dict() for module in (trainer.lightning_module, *averages)]
    if not all(v.isfinite().all() for state in states for v in state.values() if v.is_floating_point()):
        raise Diverged(f"weights are not finite in epoch {trainer.current_epoch + 1}")


class Diverged(Exception):
    """A training that nothing can come of."""


class Best(Callback):
    """Keeps the weights of the last epoch that is as good on validation as the best, in memory.

    As good: within one standard error of the best so far (Breiman et al. 1984). A small validation set
    cannot tell such epochs apart, and the later one has learned at a lower rate.
    """

    def __init__(self, objective: Objective, rows: int) -> None:
        self.objective, self.rows = objective, rows
        self.top, self.score, self.epoch = -math.inf, 0.0, -1
        self.weights: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: "Learner") -> None:  # type: ignore[override]  # noqa: D102
        score = float(trainer.callback_metrics[f"validation/{self.objective.monitor}"])
        self.top = max(self.top, score)
        if score >= self.top - self.objective.standard_error(self.top, self.rows):
            self.score, self.epoch = score, trainer.current_epoch
            weights = pl_module.network.state_dict()
            self.weights = {k: v.detach().cpu().clone() for k, v in weights.items()}

    def state_dict(self) -> State:  # noqa: D102
        return {"top": self.top, "score": self.score, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        self.__dict__ |= state_dict


class Ema(Callback):
    """Averages the weights over steps, exponentially; validation, and so `Best`, sees the average.

    After n steps the decay is at most (1 + n) / (10 + n), as in TensorFlow: else a short training ends with an
    average that is mostly the start.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.before: State | None = None
        self.average: AveragedModel | None = None

    def blend(self, average: Any, current: Any, steps: torch.Tensor | int) -> None:
        """Move the tensors of `average` towards `current`, in place."""
        if not average[0].is_floating_point():  # positions and counts have no average
            torch._foreach_copy_(average, current)
            return
        count = int(steps)
        decay = min(self.decay, (1 + count) / (10 + count))
        get_ema_multi_avg_fn(decay)(average, current, steps)  # type: ignore[no-untyped-call]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: "Learner") -> None:  # type: ignore[override]  # noqa: D102
        self.average = AveragedModel(pl_module.network, multi_avg_fn=self.blend, use_buffers=True)
        if self.before is not None:
            self.average.load_state_dict(self.before)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: "Learner", *_: Any) -> None:  # type: ignore[override]  # noqa: D102
        assert self.average is not None
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            self.average.update_parameters(pl_module.network)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: "Learner") -> None:  # type: ignore[override]  # noqa: D102
        assert self.average is not None
        self.current = {k: v.clone() for k, v in pl_module.network.state_dict().items()}
        pl_module.network.load_state_dict(self.average.module.state_dict())

    def on_validation_end(self, trainer: pl.Trainer, pl_module: "Learner") -> None:  # type: ignore[override]  # noqa: D102
        pl_module.network.load_state_dict(self.current)

    def state_dict(self) -> State:  # noqa: D102
        return {"average": self.average.state_dict()} if self.average is not None else {}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        self.before = state_dict["average"]


class Clock(Callback):
    """Wall time of the epochs, validation included; what was lost with a kill is not counted."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.earlier = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.started = time.perf_counter() - self.earlier

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self.seconds.append(time.perf_counter() - self.started)

    def state_dict(self) -> State:  # noqa: D102
        return {"seconds": self.seconds, "earlier": time.perf_counter() - self.started}

    def load_state_dict(self, state_dict: State) -> None:  # noqa: D102
        self.__dict__ |= state_dict


class EpochLine(Callback):
    """A plain line per epoch, for logs: no terminal, no bar."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.is_global_zero:
            values = [f"{k} {float(v):.4f}" for k, v in sorted(trainer.callback_metrics.items())]
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {', '.join(values)}", flush=True)
