from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.experiments import experiment_of
from support.tiny_networks import TensorBatches, random_inputs, tiny_network
from transformers import PreTrainedModel

from decant.adapt.full import Full
from decant.adapt.gradual import Gradual
from decant.adapt.lora import Lora
from decant.augment.fgm import FGM
from decant.augment.none import NoAugmentation
from decant.fine_tune import smoothing_warning
from decant.task.classify import Classify
from decant.training.adaptation import Adapt
from decant.training.learner import SupervisedLearner, warmup_decay


def learner_of(network: PreTrainedModel, adapt: Adapt, *overrides: str) -> SupervisedLearner:
    hparams = experiment_of(*overrides).fine_tune
    encoder: Any = TensorBatches()
    return SupervisedLearner(network, encoder, Classify().objective, hparams, 1e-3, adapt, NoAugmentation())


def test_frozen_blocks_do_not_count_in_clipping_and_leave_no_optimizer_state() -> None:
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


def test_low_rank_matrices_learn_with_a_perturbed_embedding_too() -> None:
    lora = Lora(4, 8.0, 0.0)
    learner, x = learner_of(lora.wrap(tiny_network("bert")), lora), random_inputs("bert")
    logits = learner({"x": x})
    batch = {"x": x, "target": torch.tensor([0, 1, 2, 0, 1])}
    terms = FGM(1.0, 1.0).extra(learner, batch, logits, learner.loss(logits, batch))
    assert terms["adversarial"].requires_grad


def test_the_loss_of_mixed_rows_is_that_of_both_by_their_shares() -> None:
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
    learner = learner_of(tiny_network("resnet"), Full(), "fine_tune.label_smoothing=0.2")
    p = logits.log_softmax(1)
    by_hand = -(0.8 * p[range(4), target] + 0.2 * p.mean(1)).mean()
    torch.testing.assert_close(learner.terms(logits, {"target": target})["loss"], by_hand)


def test_a_smoothed_teacher_is_warned_of_if_a_student_learns_from_it() -> None:
    assert "fine_tune.label_smoothing is 0.1: a teacher so trained distils worse" in smoothing_warning(0.1, ("logits",))
    assert not smoothing_warning(0.0, ("logits",))
    assert not smoothing_warning(0.1, ())


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    lrs = [warmup_decay(step, 100, 0.1) for step in range(101)]
    assert lrs[0] == pytest.approx(0.1)
    assert max(lrs) == lrs[9] == pytest.approx(1.0)
    assert lrs[55] == pytest.approx(0.5)
    assert lrs[100] == 0.0
