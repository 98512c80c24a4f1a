import pytest
from support.adapt_training import AdaptTraining

from decant.adapt.layerwise import Layerwise
from decant.training.learner import warmup_decay

pytestmark = [
    pytest.mark.usefixtures("one_thread", "project_dir"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


def test_learning_rates_fall_from_block_to_block_as_by_hand() -> None:
    adapt = Layerwise(0.5, "update")
    assert [adapt.lr_multiplier(b, 4, 0.3) for b in range(4)] == [0.125, 0.25, 0.5, 1.0]
    training = AdaptTraining("image")
    training.train(adapt)
    for step, rates in enumerate(training.rates):
        peak = 1e-2 * warmup_decay(step, 6, 0.1)
        assert rates == pytest.approx([peak / 16, peak / 8, peak / 4, peak / 2, peak])
    assert training.frozen == [set()] * 6
