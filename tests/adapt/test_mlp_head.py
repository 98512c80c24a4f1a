"""A head with a hidden layer, or with one logit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.watched_training import WatchedTraining, equal

from decant.adapt.mlp_head import MLPHead
from decant.core.errors import UserError
from decant.models import directory
from decant.task.classify import Classify


@pytest.mark.parametrize(("kind", "one_logit"), [("text", False), ("text", True), ("image", True)])
def test_a_custom_head_is_saved_and_loaded_again(
    watched_training: Callable[..., WatchedTraining], tmp_path: Path, kind: str, one_logit: bool
) -> None:
    training = watched_training(kind, classes=2)
    network = training.train(MLPHead(2, 1e-2, 8, 5, one_logit))
    assert equal(network.base_model.state_dict(), training.initial_backbone())
    directory.save(network, training.encoder.processor, tmp_path / "saved")
    assert str(training.init_dir) not in (tmp_path / "saved/config.json").read_text()
    loaded, encoder = directory.load(tmp_path / "saved", training.prepared.modality)
    assert equal(dict(loaded.state_dict()), dict(network.state_dict()))
    assert loaded.config.id2label == {0: "bill", 1: "box"}
    expected = directory.predict(network, training.encoder, training.rows["test"])
    np.testing.assert_array_equal(directory.predict(loaded, encoder, training.rows["test"]), expected)
    assert expected.shape == (6, 2)


def test_one_logit_is_a_sigmoid_with_its_cross_entropy(watched_training: Callable[..., WatchedTraining]) -> None:
    training = watched_training("image", classes=2)
    network = training.train(MLPHead(1, 1e-2, 8, None, one_logit=True))
    pair = torch.from_numpy(directory.predict(network, training.encoder, training.rows["train"]))
    target = torch.tensor([row.target for row in training.rows["train"]])
    assert (pair[:, 0] == 0).all()
    torch.testing.assert_close(pair.softmax(1)[:, 1], torch.sigmoid(pair[:, 1]))
    by_hand = F.binary_cross_entropy_with_logits(pair[:, 1], target.float())
    torch.testing.assert_close(Classify().objective.loss(pair, target), by_hand)


def test_one_logit_for_three_classes_is_refused(watched_training: Callable[..., WatchedTraining]) -> None:
    with pytest.raises(UserError, match="one_logit is for two classes, found 3"):
        watched_training("image").train(MLPHead(1, 1e-2, 8, None, one_logit=True))
