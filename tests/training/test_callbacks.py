"""Means of the training terms, also across a resume; averaged weights."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.watched_training import WatchedTraining, equal
from torch import nn
from torch.optim.swa_utils import AveragedModel

from decant.training.adaptation import Adapt
from decant.training.callbacks import EMAWeightAveraging, TrainMetrics

VALUES = np.random.default_rng(0).uniform(0, 1000, 40).astype(np.float32)
ROWS = np.random.default_rng(1).integers(1, 64, 40)


class Trainer(SimpleNamespace):
    """What the callback asks of Lightning's trainer."""

    def __init__(self) -> None:
        super().__init__(global_step=40, logged={})
        self.logger = SimpleNamespace(log_metrics=lambda values, step: self.logged.update({step: values}))


def epoch_end(metrics: TrainMetrics) -> dict[str, float]:
    """What an epoch with these metrics logs."""
    trainer = Trainer()
    module: Any = SimpleNamespace(log_dict=lambda values, logger: None)
    metrics.on_train_epoch_end(trainer, module)  # type: ignore[arg-type]
    assert list(trainer.logged) == [39]
    return trainer.logged[39]


def add(metrics: TrainMetrics, batches: slice) -> TrainMetrics:
    for value, rows in zip(VALUES[batches], ROWS[batches], strict=True):
        metrics.add({"loss": torch.tensor(value, requires_grad=True)}, int(rows))
    return metrics


def restored(metrics: TrainMetrics) -> TrainMetrics:
    resumed = TrainMetrics()
    resumed.load_state_dict(metrics.state_dict())
    return resumed


@pytest.mark.parametrize("saved_after", [0, 1, 17, 40])
def test_the_mean_of_an_epoch_that_resumes_midway_is_that_of_all_its_rows(saved_after: int) -> None:
    resumed = add(restored(add(TrainMetrics(), slice(saved_after))), slice(saved_after, None))
    mean = (VALUES.astype(np.float64) * ROWS).sum() / ROWS.sum()
    assert epoch_end(resumed)["train/loss"] == pytest.approx(mean, rel=1e-6)


def test_a_resumed_epoch_has_the_bits_of_an_uninterrupted_one() -> None:
    resumed = add(restored(add(TrainMetrics(), slice(17))), slice(17, None))
    assert epoch_end(resumed) == epoch_end(add(TrainMetrics(), slice(None)))


@pytest.mark.parametrize("saved_after", [0, 1, 3])
def test_a_value_that_is_not_a_number_stays_so_after_a_resume(saved_after: int) -> None:
    metrics = TrainMetrics()
    for number, value in enumerate([1.0, float("nan"), 2.0, 3.0]):
        metrics = restored(metrics) if number == saved_after else metrics
        metrics.add({"loss": torch.tensor(value)}, 8)
    assert np.isnan(epoch_end(metrics)["train/loss"])


def test_the_next_epoch_starts_from_nothing() -> None:
    metrics = add(TrainMetrics(), slice(None))
    epoch_end(metrics)
    metrics.add({"hard": torch.tensor(2.0)}, 8)
    assert epoch_end(metrics) == {"train/hard": 2.0}


# --- averaged weights


def test_the_average_of_the_weights_is_the_one_by_hand(watched_training: Callable[..., WatchedTraining]) -> None:
    training = watched_training("image")
    network = training.train(Adapt(), "fine_tune.ema=0.2", "fine_tune.epochs=1")
    average = {k: v.double() for k, v in training.states[0].items()}
    decays = (2 / 11, 0.2)  # (1 + n) / (10 + n), as long as it is lower
    for state, decay in zip(training.states[1:], decays, strict=True):
        average = {k: decay * v + (1 - decay) * state[k].double() for k, v in average.items()}
    assert len(training.states) == 3
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), average[key], atol=1e-6, rtol=1e-5)
    assert not torch.equal(network.state_dict()["classifier.1.weight"], training.states[-1]["classifier.1.weight"])


def test_counts_are_not_averaged() -> None:
    network = nn.BatchNorm1d(1)
    average = AveragedModel(network, multi_avg_fn=EMAWeightAveraging(network, 0.9).blend, use_buffers=True)
    for count in (1, 5, 6):
        network.num_batches_tracked.fill_(count)
        network.weight.data.fill_(count)
        average.update_parameters(network)
        assert average.module.num_batches_tracked == count
    assert 1 < average.module.weight < 6


def test_training_continues_from_the_weights_not_from_their_average(
    watched_training: Callable[..., WatchedTraining],
) -> None:
    training = watched_training("image")
    training.train(Adapt())
    training.train(Adapt(), "fine_tune.ema=0.9")
    assert equal(training.states[5], training.states[11])
