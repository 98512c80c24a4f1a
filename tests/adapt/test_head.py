import numpy as np
import pytest
import torch
from support.adapt_training import AdaptTraining, norm_statistics, same_weights
from support.tiny_project import BACKBONES

from decant.adapt.head import HeadOnly
from decant.models import directory

pytestmark = [
    pytest.mark.usefixtures("one_thread", "project_dir"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


@pytest.mark.parametrize("kind", BACKBONES)
def test_the_backbone_is_bitwise_unchanged(kind: str) -> None:
    training = AdaptTraining(kind)
    network = training.train(HeadOnly(epochs=3, lr=1e-2, batch_size=8))
    # the head of a ViT does not read the pooler
    before = {k: v for k, v in training.initial_backbone().items() if kind != "vit" or "pooler" not in k}
    assert same_weights(network.base_model.state_dict(), before)
    assert bool(norm_statistics(before)) == (kind == "image")
    assert len(training.weights) == 9
    first, last = training.weights[0].values(), training.weights[8].values()
    assert all(not torch.equal(a, b) for a, b in zip(first, last, strict=True))
    assert "train/loss" in training.run.metrics


def test_the_score_on_features_is_the_score_on_inputs() -> None:
    training = AdaptTraining("image")
    network = training.train(HeadOnly(epochs=10, lr=0.3, batch_size=8))
    predicted = directory.predict(network, training.encoder, training.rows["validation"]).argmax(1)
    accuracy = (predicted == np.arange(9) % 3).mean()
    assert accuracy == pytest.approx(training.run.metrics["best/accuracy"])
    assert accuracy > 0.5
