"""Accuracy, F1 and calibration of classes, against scikit-learn and by hand."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import classification_report

from decant.task.classify import Classify

SCORING = Classify().scoring
DRAW = np.random.default_rng(0)
TARGET = DRAW.integers(0, 3, 200)
PREDICTED = np.where(DRAW.random(200) < 0.8, TARGET, DRAW.integers(0, 3, 200))
LOGITS = np.eye(3, dtype=np.float32)[PREDICTED] * 5


def test_metrics_agree_with_scikit_learn() -> None:
    actual = SCORING.metrics(LOGITS, TARGET, ["a", "b", "c"], 10)
    expected = classification_report(TARGET, PREDICTED, target_names=["a", "b", "c"], output_dict=True)
    assert actual["accuracy"] == pytest.approx(expected["accuracy"])
    assert actual["macro_f1"] == pytest.approx(expected["macro avg"]["f1-score"])
    assert actual["per_class"]["b"]["recall"] == pytest.approx(expected["b"]["recall"])


def test_calibration_error_by_hand() -> None:
    # every answer has the same confidence, so the error is its distance from the accuracy
    confidence = np.exp(5) / (np.exp(5) + 2)
    actual = SCORING.metrics(LOGITS, TARGET, ["a", "b", "c"], 10)
    assert actual["calibration_error"] == pytest.approx(abs(confidence - actual["accuracy"]), abs=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_logits_of_a_baseline_that_is_sure_are_finite(classes: int) -> None:
    inputs = 1e4 * np.eye(classes)
    fitted = SCORING.linear_estimator(1.0).fit(inputs, np.arange(classes))
    actual = SCORING.linear_logits(fitted, inputs)
    assert np.isfinite(actual).all()  # scikit-learn's logarithm of a probability of 0 is not
    near = SCORING.linear_logits(fitted, inputs / 1e4)
    assert softmax(near, axis=1) == pytest.approx(fitted.predict_proba(inputs / 1e4), abs=1e-6)
