import pytest
import torch
import torch.nn.functional as F
from support.tiny_networks import tiny_network
from support.watched_training import learner_of

from decant.adapt.full import Full
from decant.adapt.gradual import Gradual
from decant.training.learner import warmup_decay


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    lrs = [warmup_decay(step, 100, 0.1) for step in range(101)]
    assert lrs[0] == pytest.approx(0.1)
    assert max(lrs) == lrs[9] == pytest.approx(1.0)
    assert lrs[55] == pytest.approx(0.5)
    assert lrs[100] == 0.0


def test_frozen_parameters_do_not_count_in_clipping_and_have_no_optimizer_state() -> None:
    learner = learner_of(tiny_network("resnet"), Gradual(0.5, "update"))
    learner.frozen = {0, 1, 2, 3}
    for block in learner.blocks:
        for parameter in block:
            parameter.grad = torch.full_like(parameter, 100.0)
    head = learner.blocks[-1]
    for parameter in head:
        parameter.grad = torch.full_like(parameter, 0.01)
    optimizer = torch.optim.AdamW(learner.parameters())
    learner.configure_gradient_clipping(optimizer)
    assert all((p.grad == 0.01).all() for p in head)
    optimizer.step()
    assert set(optimizer.state) == set(head)


def test_terms_of_mixed_rows_are_those_of_both_weighted_by_their_shares() -> None:
    learner = learner_of(tiny_network("resnet"), Full())
    torch.manual_seed(0)
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    partner, share = torch.tensor([1, 2, 3, 0]), torch.tensor(0.3)
    loss = learner.mixed_terms(logits, {"target": target, "partner": partner, "share": share})["loss"]
    p = logits.log_softmax(1)
    by_hand = -sum(0.3 * p[i, target[i]] + 0.7 * p[i, target[partner[i]]] for i in range(4)) / 4
    torch.testing.assert_close(loss, torch.as_tensor(by_hand))
    torch.testing.assert_close(learner.mixed_terms(logits, {"target": target})["loss"], F.cross_entropy(logits, target))


def test_label_smoothing_reaches_the_loss() -> None:
    logits, target = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    learner = learner_of(tiny_network("resnet"), Full(), label_smoothing=0.2)
    p = logits.log_softmax(1)
    by_hand = -(0.8 * p[range(4), target] + 0.2 * p.mean(1)).mean()
    torch.testing.assert_close(learner.terms(logits, {"target": target})["loss"], by_hand)
