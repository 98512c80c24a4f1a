"""Squared error in units of the range, against float64 by hand."""

import numpy as np
import pytest
import torch

from decant.task.regress import Regress
from decant.task.regress.metrics import pearson

REGRESS = Regress(low=0.0, high=5.0)
TARGET, OBJECTIVE, SCORING = REGRESS.target, REGRESS.objective, REGRESS.scoring
DRAW = np.random.default_rng(0)
TRUTH = DRAW.uniform(0, 5, 80).astype(np.float32)
PREDICTED = (TRUTH + DRAW.normal(0, 1, 80)).astype(np.float32)[:, None]


def test_the_loss_of_numbers_is_the_squared_error_in_units_of_the_range() -> None:
    by_hand = (((PREDICTED[:, 0].astype(np.float64) - TRUTH) / 5) ** 2).mean()
    actual = OBJECTIVE.loss(torch.from_numpy(PREDICTED), torch.from_numpy(TRUTH))
    assert actual.item() == pytest.approx(by_hand, rel=1e-5)
    assert Regress().objective.loss(torch.from_numpy(PREDICTED), torch.from_numpy(TRUTH)).item() == pytest.approx(
        25 * by_hand
    )


def test_a_soft_target_is_a_number_like_any_other() -> None:
    teacher = torch.from_numpy(TRUTH)[:, None]
    actual = [OBJECTIVE.divergence(torch.from_numpy(PREDICTED), teacher, t).item() for t in (1.0, 4.0)]
    by_hand = (((PREDICTED[:, 0].astype(np.float64) - TRUTH) / 5) ** 2).mean()
    assert actual == pytest.approx([by_hand, by_hand], rel=1e-5)


def test_numbers_are_not_smoothed() -> None:
    with pytest.raises(ValueError, match="a number cannot be smoothed"):
        OBJECTIVE.loss(torch.from_numpy(PREDICTED), torch.from_numpy(TRUTH), 0.1)


def test_the_standard_error_of_a_correlation_is_about_its_spread() -> None:
    actual = []
    for seed in range(300):
        x, e = np.random.default_rng(seed).normal(size=(2, 200))
        actual.append(pearson(x, 0.8 * x + 0.6 * e))
    assert OBJECTIVE.standard_error(0.8, 200) == pytest.approx(np.std(actual), rel=0.15)


def test_an_ensemble_is_the_mean_of_the_outputs() -> None:
    logits = np.array([[[1.0], [2.0]], [[3.0], [6.0]]], np.float32)
    assert OBJECTIVE.ensemble(logits).tolist() == [[2.0], [4.0]]
