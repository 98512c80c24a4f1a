"""Numbers, against scipy, scikit-learn and float64 by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import root_mean_squared_error

from decant.core.errors import UserError
from decant.data.table import Table
from decant.task.regress import Regress
from decant.task.regress.metrics import correlation, moments, pearson

REGRESS = Regress(low=0.0, high=5.0)
TARGET, OBJECTIVE, SCORING = REGRESS.target, REGRESS.objective, REGRESS.scoring
DRAW = np.random.default_rng(0)
TRUTH = DRAW.uniform(0, 5, 80).astype(np.float32)
PREDICTED = (TRUTH + DRAW.normal(0, 1, 80)).astype(np.float32)[:, None]


def test_metrics_of_numbers_agree_with_scipy_and_scikit_learn() -> None:
    found = SCORING.metrics(PREDICTED, TRUTH, ["score"], 10)
    assert found["pearson"] == pytest.approx(pearsonr(PREDICTED[:, 0], TRUTH).statistic, abs=1e-6)
    assert found["spearman"] == pytest.approx(spearmanr(PREDICTED[:, 0], TRUTH).statistic)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(TRUTH, PREDICTED[:, 0]), rel=1e-5)


def test_a_correlation_survives_a_large_offset() -> None:
    shifted = pearson(PREDICTED[:, 0].astype(np.float64) + 1e9, TRUTH)
    assert shifted == pytest.approx(pearson(PREDICTED[:, 0], TRUTH), abs=1e-5)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9])
def test_predictions_that_do_not_vary_correlate_with_nothing(constant: float) -> None:
    flat = np.full((80, 1), constant, np.float32)
    measured = OBJECTIVE.validation_metrics(1)
    measured.update(torch.from_numpy(flat), torch.from_numpy(TRUTH))
    assert measured.compute()["pearson"].item() == SCORING.metrics(flat, TRUTH, ["score"], 10)["spearman"] == 0.0
    drawn = np.bincount([3] * 80, minlength=80)[None].astype(float)  # one row, again and again
    assert correlation(drawn @ moments(PREDICTED[:, 0], TRUTH)).tolist() == [0.0]


def test_the_loss_of_numbers_is_the_squared_error_in_units_of_the_range() -> None:
    by_hand = (((PREDICTED[:, 0].astype(np.float64) - TRUTH) / 5) ** 2).mean()
    found = OBJECTIVE.loss(torch.from_numpy(PREDICTED), torch.from_numpy(TRUTH))
    assert found.item() == pytest.approx(by_hand, rel=1e-5)
    assert Regress().objective.loss(torch.from_numpy(PREDICTED), torch.from_numpy(TRUTH)).item() == pytest.approx(
        25 * by_hand
    )


def test_a_soft_number_is_a_target_like_any_other() -> None:
    teacher = torch.from_numpy(TRUTH)[:, None]
    found = [OBJECTIVE.divergence(torch.from_numpy(PREDICTED), teacher, t).item() for t in (1.0, 4.0)]
    by_hand = (((PREDICTED[:, 0].astype(np.float64) - TRUTH) / 5) ** 2).mean()
    assert found == pytest.approx([by_hand, by_hand], rel=1e-5)


def test_numbers_are_not_smoothed() -> None:
    with pytest.raises(ValueError, match="a number cannot be smoothed"):
        OBJECTIVE.loss(torch.from_numpy(PREDICTED), torch.from_numpy(TRUTH), 0.1)


@pytest.mark.parametrize(
    ("cells", "message"),
    [(["1", "two"], "1 targets are no numbers .first: 'two'"), ([1.0, float("inf")], "no numbers"),
     ([1.0, 1e300], "or exceed 32 bits"),
     ([0.0, 5.5], r"1 targets are outside \[0, 5\] .first: 5.5")],
)  # fmt: skip
def test_targets_that_are_no_numbers_of_the_range_are_refused(cells: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TARGET.read(pd.Series(cells, dtype=object))


def test_numbers_come_through_a_table_as_they_were(tmp_path: Path) -> None:
    pd.DataFrame({"text": list("abcd"), "y": [1.1, 2.0, 4.0, 3.3]}).to_csv(tmp_path / "a.csv", index=False)
    target = Table(train=str(tmp_path / "a.csv"), input="text", target="y").load()["train"]["target"]
    assert TARGET.read(target).tolist() == [1.1, 2.0, 4.0, 3.3]


def test_the_same_target_everywhere_is_refused() -> None:
    assert "single target 3" in TARGET.problems({"train": pd.DataFrame({"target": [3.0, 3.0]})})[0]


@pytest.mark.parametrize(("low", "high"), [(0.0, None), (5.0, 0.0), (0.0, float("inf"))])
def test_a_range_that_is_none_is_refused(low: float, high: float | None) -> None:
    with pytest.raises(UserError, match="expected"):
        Regress(low=low, high=high)


def test_the_standard_error_of_a_correlation_is_about_its_spread() -> None:
    found = []
    for seed in range(300):
        x, e = np.random.default_rng(seed).normal(size=(2, 200))
        found.append(pearson(x, 0.8 * x + 0.6 * e))
    assert OBJECTIVE.standard_error(0.8, 200) == pytest.approx(np.std(found), rel=0.15)
