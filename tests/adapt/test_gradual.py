import pytest
import torch
from support.adapt_training import AdaptTraining

from decant.adapt.gradual import Gradual
from decant.models.blocks import block_of

pytestmark = [
    pytest.mark.usefixtures("one_thread", "project_dir"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


def test_frozen_blocks_are_bitwise_unchanged() -> None:
    training = AdaptTraining("image")
    training.train(Gradual(1.0, "update"), "fine_tune.epochs=4")
    blocks = list(dict.fromkeys(block_of(k.split("."), "resnet") for k in training.weights[0]))
    count, steps = len(blocks), len(training.weights)
    assert (count, steps) == (5, 12)
    initial = {f"resnet.{k}": v for k, v in training.initial_backbone().items()}
    trained = set()
    for step, weights in enumerate(training.weights):
        trained |= {b for b in range(count) if Gradual(1.0, "update").lr_multiplier(b, count, step / steps) > 0}
        for key, value in initial.items():
            block = blocks.index(block_of(key.split("."), "resnet"))
            assert torch.equal(weights[key], value) == (block not in trained), (step, key)
    assert trained == set(range(count))


def test_the_step_alone_decides_what_is_frozen() -> None:
    training = AdaptTraining("image")
    training.train(Gradual(0.7, "update"))
    assert len(training.frozen) == 6
    for step in (4, 0, 5, 2, 1, 3):  # as a resumed training would ask
        frozen = {b for b in range(5) if Gradual(0.7, "update").lr_multiplier(b, 5, step / 6) == 0}
        assert training.frozen[step] == frozen
    assert [len(frozen or ()) for frozen in training.frozen] == [4, 3, 2, 1, 0, 0]


def test_the_phases_are_even_and_start_with_the_head() -> None:
    adapt = Gradual(0.5, "update")
    multipliers = [[adapt.lr_multiplier(b, 5, p) for b in range(5)] for p in (0.0, 0.1, 0.2, 0.3, 0.4, 1.0)]
    assert multipliers == [[0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1] * 5, [1] * 5]
