from collections.abc import Callable

import pytest
from support.watched_training import WatchedTraining

from decant.adapt.layerwise import Layerwise
from decant.training.learner import warmup_decay


def test_learning_rates_fall_by_the_layer_as_by_hand(watched_training: Callable[..., WatchedTraining]) -> None:
    assert [Layerwise(0.5, "update").lr_multiplier(b, 4, 0.3) for b in range(4)] == [0.125, 0.25, 0.5, 1.0]
    training = watched_training("image")
    training.train(Layerwise(0.5, "update"))
    for step, lrs in enumerate(training.lrs):
        peak = 1e-2 * warmup_decay(step, 6, 0.1)
        assert lrs == pytest.approx([peak / 16, peak / 8, peak / 4, peak / 2, peak])
    assert training.frozen == [set()] * 6
