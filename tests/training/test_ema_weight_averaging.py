from pathlib import Path

import pytest
import torch
from support.adapt_training import AdaptTraining, same_weights
from torch.optim.swa_utils import AveragedModel

from decant.adapt.full import Full
from decant.training.callbacks import EMAWeightAveraging

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


def test_the_average_of_weights_is_the_one_by_hand(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    training = AdaptTraining("image")
    network = training.train(Full(), "fine_tune.ema=0.2", "fine_tune.epochs=1")
    assert len(training.weights) == 3
    average = {k: v.double() for k, v in training.weights[0].items()}
    for weights, decay in zip(training.weights[1:], (2 / 11, 0.2), strict=True):  # at most (1 + n) / (10 + n)
        average = {k: decay * v + (1 - decay) * weights[k].double() for k, v in average.items()}
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), average[key], atol=1e-6, rtol=1e-5)
    head = "classifier.1.weight"
    assert not torch.equal(network.state_dict()[head], training.weights[-1][head])


def test_counts_are_not_averaged() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = AveragedModel(network, multi_avg_fn=EMAWeightAveraging(network, 0.9).blend, use_buffers=True)
    for count in (1, 5, 6):
        network.num_batches_tracked.fill_(count)
        network.weight.data.fill_(count)
        average.update_parameters(network)
        assert average.module.num_batches_tracked == count
    assert 1 < average.module.weight < 6


def test_training_continues_from_the_weights_and_not_from_their_average(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    training = AdaptTraining("image")
    training.train(Full())
    training.train(Full(), "fine_tune.ema=0.9")
    assert same_weights(training.weights[5], training.weights[11])
