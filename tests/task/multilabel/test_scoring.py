"""Metrics of several labels per row, against scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report, f1_score, precision_recall_fscore_support

from decant.task.multilabel import MultiLabel

MULTI = MultiLabel(threshold=0.5)
TARGET, OBJECTIVE, SCORING = MULTI.target, MULTI.objective, MULTI.scoring
DRAW = np.random.default_rng(0)
HOT = (DRAW.random((80, 4)) < 0.3).astype(np.int8)
LOGITS = DRAW.normal(0, 2, (80, 4)).astype(np.float32)


def test_metrics_of_labels_agree_with_scikit_learn() -> None:
    actual = SCORING.metrics(LOGITS, HOT, list("abcd"), 10)
    predicted = LOGITS > 0
    report = classification_report(HOT, predicted, target_names=list("abcd"), output_dict=True, zero_division=0)
    for average in ("micro", "macro"):
        expected = report[f"{average} avg"]
        assert actual[f"{average}_f1"] == pytest.approx(expected["f1-score"])
        assert actual[f"{average}_precision"] == pytest.approx(expected["precision"])
        assert actual[f"{average}_recall"] == pytest.approx(expected["recall"])
    each = precision_recall_fscore_support(HOT, predicted, zero_division=0)
    assert [actual["per_class"][n]["f1"] for n in "abcd"] == pytest.approx(each[2].tolist())
    assert actual["subset_accuracy"] == pytest.approx((predicted == HOT).all(1).mean())


def test_a_label_that_is_neither_a_target_nor_predicted_counts_as_zero() -> None:
    hot, scores = HOT.copy(), LOGITS.copy()
    hot[:, 0], scores[:, 0] = 0, -1
    assert SCORING.metrics(scores, hot, list("abcd"), 10)["macro_f1"] == pytest.approx(
        f1_score(hot, scores > 0, average="macro", zero_division=0)
    )


def test_calibration_error_of_labels_by_hand() -> None:
    probabilities, bins = expit(LOGITS.astype(np.float64)).ravel(), 10
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    by_hand = sum(
        abs(probabilities[bin_of == b].sum() - HOT.ravel()[bin_of == b].sum()) for b in range(bins)
    ) / len(bin_of)  # fmt: skip
    assert SCORING.metrics(LOGITS, HOT, list("abcd"), bins)["calibration_error"] == pytest.approx(by_hand, abs=1e-6)


def test_the_threshold_moves_every_metric_alike() -> None:
    strict = MultiLabel(threshold=0.8)
    expected = f1_score(HOT, expit(LOGITS) > 0.8, average="micro")
    measured = strict.objective.validation_metrics(4)
    measured.update(torch.from_numpy(LOGITS), torch.from_numpy(HOT))
    assert strict.scoring.metrics(LOGITS, HOT, list("abcd"), 10)["micro_f1"] == pytest.approx(expected)
    assert measured.compute()["micro_f1"].item() == pytest.approx(expected)


def test_a_single_label_is_scored_and_fitted() -> None:
    hot, scores = HOT[:, :1], LOGITS[:, :1]
    assert SCORING.metrics(scores, hot, ["a"], 10)["micro_f1"] == pytest.approx(f1_score(hot[:, 0], scores[:, 0] > 0))
    fitted = SCORING.linear_estimator(1.0).fit(LOGITS, hot)
    assert SCORING.linear_logits(fitted, LOGITS).shape == (80, 1)


def test_the_linear_baseline_is_a_logistic_regression_for_each_label() -> None:
    actual = SCORING.linear_logits(SCORING.linear_estimator(1.0).fit(LOGITS, HOT), LOGITS)
    # without the shortcuts
    alone = LogisticRegression(C=1.0, class_weight="balanced", solver="liblinear").fit(LOGITS, HOT[:, 2])
    assert actual[:, 2] == pytest.approx(alone.decision_function(LOGITS), abs=0.02)
