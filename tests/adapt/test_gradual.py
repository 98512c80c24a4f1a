"""Block after block is unfrozen."""

from collections.abc import Callable

import torch
from support.watched_training import WatchedTraining

from decant.adapt.gradual import Gradual
from decant.models.blocks import block_of


def test_gradual_leaves_frozen_blocks_bitwise_as_they_were(watched_training: Callable[..., WatchedTraining]) -> None:
    training = watched_training("image")
    training.train(Gradual(1.0, "update"), "fine_tune.epochs=4")
    names = list(dict.fromkeys(block_of(k.split("."), "resnet") for k in training.states[0]))
    count, steps = len(names), len(training.states)
    assert (count, steps) == (5, 12)
    start = {f"resnet.{k}": v for k, v in training.initial_backbone().items()}
    unfrozen = set()
    for step, state in enumerate(training.states):
        unfrozen |= {b for b in range(count) if Gradual(1.0, "update").lr_multiplier(b, count, step / steps) > 0}
        for key, value in start.items():
            block = names.index(block_of(key.split("."), "resnet"))
            assert torch.equal(state[key], value) == (block not in unfrozen), (step, key)
    assert unfrozen == set(range(count))


def test_gradual_is_a_function_of_the_step_alone(watched_training: Callable[..., WatchedTraining]) -> None:
    training = watched_training("image")
    training.train(Gradual(0.7, "update"))
    assert len(training.frozen) == 6
    for step in (4, 0, 5, 2, 1, 3):  # as a resumed run would ask
        fresh = {b for b in range(5) if Gradual(0.7, "update").lr_multiplier(b, 5, step / 6) == 0}
        assert training.frozen[step] == fresh
    assert [len(frozen) for frozen in training.frozen] == [4, 3, 2, 1, 0, 0]


def test_the_phases_of_gradual_are_even_and_start_with_the_head() -> None:
    unfrozen = [
        [Gradual(0.5, "update").lr_multiplier(b, 5, p) for b in range(5)] for p in (0.0, 0.1, 0.2, 0.3, 0.4, 1.0)
    ]
    assert unfrozen == [[0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1] * 5, [1] * 5]
