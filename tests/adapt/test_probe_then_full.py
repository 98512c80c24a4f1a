import pytest
import torch
from support.adapt_training import AdaptTraining, norm_statistics, same_weights

from decant.adapt.probe_then_full import ProbeThenFull

pytestmark = [
    pytest.mark.usefixtures("one_thread", "project_dir"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


def test_the_probe_comes_first_and_is_logged_with_a_prefix() -> None:
    training = AdaptTraining("image")
    adapt = ProbeThenFull(epochs=3, lr=1e-2, batch_size=8, batch_norm="frozen")
    network = training.train(adapt, "fine_tune.lr=1e-4")
    probe, full = training.weights[:9], training.weights[9:]
    assert len(full) == 6
    assert {k.partition(".")[0] for k in probe[0]} == {"classifier"}
    for key, value in probe[-1].items():  # the second phase starts where the first ended: one step is small
        assert (full[0][key] - value).abs().max() < 1e-3 < (probe[0][key] - value).abs().max()
    before, after = training.initial_backbone(), network.base_model.state_dict()
    assert same_weights(norm_statistics(after), norm_statistics(before))
    convolution = "embedder.embedder.convolution.weight"
    assert not torch.equal(after[convolution], before[convolution])
    assert {"probe/train/loss", "probe/best/accuracy", "train/loss", "best/accuracy"} <= set(training.run.metrics)
