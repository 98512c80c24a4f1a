import pytest
import torch
from support.adapt_training import AdaptTraining, norm_statistics
from support.tiny_project import remove_weights

from decant.adapt.full import Full
from decant.training.learner import batch_norms

pytestmark = [
    pytest.mark.usefixtures("one_thread", "project_dir"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


@pytest.mark.parametrize("batch_norm", ["update", "frozen"])
def test_all_weights_are_trained_and_the_statistics_as_configured(batch_norm: str) -> None:
    training = AdaptTraining("image")
    training.train(Full(batch_norm))
    before = training.initial_backbone()
    after = {k.removeprefix("resnet."): v for k, v in training.weights[-1].items()}
    for key in before:
        changed = not torch.equal(before[key], after[key])
        assert changed == (key not in norm_statistics(before) or batch_norm == "update"), key


def test_statistics_that_were_never_measured_are_not_frozen() -> None:
    training = AdaptTraining("image")
    remove_weights(training.init_dir)
    network = training.train(Full("frozen"), "fine_tune.epochs=1")
    assert batch_norms(network)
    assert all((norm.running_var != 1).any() for norm in batch_norms(network))


def test_a_network_from_scratch_is_trained() -> None:
    training = AdaptTraining("image")
    remove_weights(training.init_dir)
    training.train(Full(), "fine_tune.epochs=1")
    assert len(training.weights) == 3
