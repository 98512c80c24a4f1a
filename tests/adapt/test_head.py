"""The head alone, on cached features."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.tiny_project import BACKBONES
from support.watched_training import WatchedTraining, equal, statistics

from decant.adapt.head import HeadOnly
from decant.models import directory


@pytest.mark.parametrize("kind", BACKBONES)
def test_head_leaves_the_whole_backbone_bitwise_as_it_was(
    watched_training: Callable[..., WatchedTraining], kind: str
) -> None:
    training = watched_training(kind)
    network = training.train(HeadOnly(epochs=3, lr=1e-2, batch_size=8))
    unread = "pooler" if kind == "vit" else "nothing"  # by its head
    before = {k: v for k, v in training.initial_backbone().items() if unread not in k}
    assert equal(network.base_model.state_dict(), before)
    assert bool(statistics(before)) == (kind == "image")
    assert len(training.states) == 9
    first, last = training.states[0], training.states[8]
    assert all(not torch.equal(first[name], last[name]) for name in first)
    assert "train/loss" in training.logged


def test_the_score_on_features_is_the_score_on_inputs(watched_training: Callable[..., WatchedTraining]) -> None:
    training = watched_training("image")
    network = training.train(HeadOnly(epochs=10, lr=0.3, batch_size=8))
    correct = directory.predict(network, training.encoder, training.rows["validation"]).argmax(1) == np.arange(9) % 3
    assert correct.mean() == pytest.approx(training.logged["best/accuracy"])
    assert correct.mean() > 0.5
