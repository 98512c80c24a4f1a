"""Every weight is trained."""

from collections.abc import Callable

import pytest
import torch
from support.watched_training import WatchedTraining, statistics

from decant.adapt.full import Full
from decant.training.learner import batch_norms


@pytest.mark.parametrize("batch_norm", ["update", "frozen"])
def test_full_trains_all_weights_and_updates_statistics_unless_frozen(
    watched_training: Callable[..., WatchedTraining], batch_norm: str
) -> None:
    training = watched_training("image")
    training.train(Full(batch_norm))
    before, after = training.initial_backbone(), {k.removeprefix("resnet."): v for k, v in training.states[-1].items()}
    for key in before:
        changed = not torch.equal(before[key], after[key])
        assert changed == (key not in statistics(before) or batch_norm == "update"), key


def test_statistics_that_were_never_measured_are_not_frozen(
    watched_training: Callable[..., WatchedTraining],
) -> None:
    training = watched_training("image", pretrained=False)
    network = training.train(Full("frozen"), "fine_tune.epochs=1")
    assert batch_norms(network)
    assert all((n.running_var != 1).any() for n in batch_norms(network))


def test_a_network_from_scratch_is_trained_in_full(
    watched_training: Callable[..., WatchedTraining],
) -> None:
    training = watched_training("image", pretrained=False)
    training.train(Full(), "fine_tune.epochs=1")
    assert len(training.states) == 3
