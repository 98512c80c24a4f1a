from collections.abc import Callable

import torch
from support.watched_training import WatchedTraining, equal, statistics

from decant.adapt.probe_then_full import ProbeThenFull


def test_a_probe_comes_first_and_is_logged_under_its_own_name(watched_training: Callable[..., WatchedTraining]) -> None:
    training = watched_training("image")
    network = training.train(ProbeThenFull(epochs=3, lr=1e-2, batch_size=8, batch_norm="frozen"), "fine_tune.lr=1e-4")
    probe, full = training.states[:9], training.states[9:]
    assert len(full) == 6
    assert {k.partition(".")[0] for k in probe[0]} == {"classifier"}
    for key, value in probe[-1].items():  # the second phase starts where the first ended: one step is small
        assert (full[0][key] - value).abs().max() < 1e-3 < (probe[0][key] - value).abs().max()
    assert equal(statistics(network.base_model.state_dict()), statistics(training.initial_backbone()))
    name = "embedder.embedder.convolution.weight"
    assert not torch.equal(network.base_model.state_dict()[name], training.initial_backbone()[name])
    assert {"probe/train/loss", "probe/best/accuracy", "train/loss", "best/accuracy"} <= set(training.logged)
