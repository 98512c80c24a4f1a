"""Losses and heads for several labels per row, against float64 by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from transformers import AutoModelForSequenceClassification, BertConfig

from decant.models.directory import Head
from decant.task.multilabel import MultiLabel

MULTI = MultiLabel(threshold=0.5)
TARGET, OBJECTIVE, SCORING = MULTI.target, MULTI.objective, MULTI.scoring
DRAW = np.random.default_rng(0)
HOT = (DRAW.random((80, 4)) < 0.3).astype(np.int8)
LOGITS = DRAW.normal(0, 2, (80, 4)).astype(np.float32)


def test_logits_between_zero_and_one_are_not_taken_for_probabilities() -> None:
    small = torch.full((3, 4), 0.2)  # probability 0.55
    measured = OBJECTIVE.validation_metrics(4)
    measured.update(small, torch.ones(3, 4, dtype=torch.int8))
    assert measured.compute()["micro_f1"].item() == 1.0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_labels_agrees_with_float64_by_hand(smoothing: float) -> None:
    p = expit(LOGITS.astype(np.float64))
    y = HOT * (1 - smoothing) + smoothing / 2
    by_hand = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    actual = OBJECTIVE.loss(torch.from_numpy(LOGITS), torch.from_numpy(HOT), smoothing)
    assert actual.item() == pytest.approx(by_hand, rel=1e-5)


def test_soft_targets_agree_with_float64_by_hand() -> None:
    t, other = 3.0, LOGITS[::-1].copy()
    p, q = expit(LOGITS.astype(np.float64) / t), expit(other.astype(np.float64) / t)
    by_hand = t**2 * (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).mean()
    actual = OBJECTIVE.divergence(torch.from_numpy(LOGITS), torch.from_numpy(other), t)
    assert actual.item() == pytest.approx(by_hand, rel=1e-4)


def test_an_ensemble_of_labels_is_the_mean_probability() -> None:
    three = np.stack([LOGITS, LOGITS[::-1], 30 * LOGITS])
    expected = expit(three.astype(np.float64)).mean(0)
    assert expit(OBJECTIVE.ensemble(three)) == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(OBJECTIVE.ensemble(np.full((2, 1, 1), 500.0, np.float32))).all()


def test_soft_targets_of_a_very_sure_teacher_stay_finite() -> None:
    student = torch.full((2, 3), -200.0, requires_grad=True)
    OBJECTIVE.divergence(student, torch.full((2, 3), 200.0), 1.0).backward()
    assert torch.isfinite(student.grad).all()


def test_a_new_head_predicts_each_label_at_the_share_of_its_rows(tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    BertConfig(vocab_size=20, **sizes).save_pretrained(tmp_path)
    network = OBJECTIVE.build_network(tmp_path, ["a", "b"], AutoModelForSequenceClassification, Head())
    with torch.no_grad():
        network.classifier.weight.zero_()
    target = np.array([[1, 0]] * 3 + [[0, 0]] * 5 + [[-1, -1]] * 9, np.int8)  # the last have no labels
    OBJECTIVE.init_head_bias(network, target, None)
    actual = network.eval()(torch.ones(1, 3, dtype=torch.long)).logits.sigmoid()[0].tolist()
    assert actual == pytest.approx([4 / 10, 1 / 10])  # one row more of each kind: no label is at 0
    OBJECTIVE.init_head_bias(network, target, np.array([[-8.0, 2.0], [-6.0, 2.0]], np.float32))
    assert network.classifier.bias.tolist() == [-7.0, 2.0]  # a student starts at its teacher's mean
