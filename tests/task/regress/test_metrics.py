"""Correlations and errors, against scipy and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import root_mean_squared_error

from decant.task.regress import Regress
from decant.task.regress.metrics import correlation, moments, pearson

REGRESS = Regress(low=0.0, high=5.0)
TARGET, OBJECTIVE, SCORING = REGRESS.target, REGRESS.objective, REGRESS.scoring
DRAW = np.random.default_rng(0)
TRUTH = DRAW.uniform(0, 5, 80).astype(np.float32)
PREDICTED = (TRUTH + DRAW.normal(0, 1, 80)).astype(np.float32)[:, None]


def test_metrics_of_numbers_agree_with_scipy_and_scikit_learn() -> None:
    actual = SCORING.metrics(PREDICTED, TRUTH, ["score"], 10)
    assert actual["pearson"] == pytest.approx(pearsonr(PREDICTED[:, 0], TRUTH).statistic, abs=1e-6)
    assert actual["spearman"] == pytest.approx(spearmanr(PREDICTED[:, 0], TRUTH).statistic)
    assert actual["rmse"] == pytest.approx(root_mean_squared_error(TRUTH, PREDICTED[:, 0]), rel=1e-5)


def test_a_correlation_survives_a_large_offset() -> None:
    shifted = pearson(PREDICTED[:, 0].astype(np.float64) + 1e9, TRUTH)
    assert shifted == pytest.approx(pearson(PREDICTED[:, 0], TRUTH), abs=1e-5)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9])
def test_predictions_that_do_not_vary_correlate_with_nothing(constant: float) -> None:
    flat = np.full((80, 1), constant, np.float32)
    measured = OBJECTIVE.validation_metrics(1)
    measured.update(torch.from_numpy(flat), torch.from_numpy(TRUTH))
    assert measured.compute()["pearson"].item() == SCORING.metrics(flat, TRUTH, ["score"], 10)["spearman"] == 0.0
    sample = np.bincount([3] * 80, minlength=80)[None].astype(float)  # one row, again and again
    assert correlation(sample @ moments(PREDICTED[:, 0], TRUTH)).tolist() == [0.0]
