from typing import Any

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import classification_report

from decant.config.schema import Evaluate
from decant.evaluation import bootstrap
from decant.task.classify import Classify

TASK = Classify()
KNOBS = Evaluate(resamples=4000, confidence=0.95, bins=10)
RANDOM = np.random.default_rng(0)
TARGET = RANDOM.integers(0, 3, 200)
FIRST = np.where(RANDOM.random(200) < 0.8, TARGET, RANDOM.integers(0, 3, 200))
SECOND = np.where(RANDOM.random(200) < 0.7, TARGET, RANDOM.integers(0, 3, 200))


def paired(first: np.ndarray, second: np.ndarray, target: np.ndarray, knobs: Evaluate, seed: int) -> dict[str, Any]:
    return bootstrap.between(*(bootstrap.drawn(x, target, TASK.scoring, knobs, seed) for x in (first, second)), knobs)


def one_hot(predicted: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[predicted] * 5


def test_scores_agree_with_scikit_learn() -> None:
    found = TASK.scoring.metrics(one_hot(FIRST), TARGET, ["a", "b", "c"], 10)
    wanted = classification_report(TARGET, FIRST, target_names=["a", "b", "c"], output_dict=True)
    assert found["accuracy"] == pytest.approx(wanted["accuracy"])
    assert found["macro_f1"] == pytest.approx(wanted["macro avg"]["f1-score"])
    assert found["per_class"]["b"]["recall"] == pytest.approx(wanted["b"]["recall"])


def test_calibration_error_by_hand() -> None:
    # every answer has the same confidence, so the error is its distance from the accuracy
    confidence = np.exp(5) / (np.exp(5) + 2)
    found = TASK.scoring.metrics(one_hot(FIRST), TARGET, ["a", "b", "c"], 10)
    assert found["calibration_error"] == pytest.approx(abs(confidence - found["accuracy"]), abs=1e-5)


def test_the_interval_agrees_with_scipy() -> None:
    found = paired(one_hot(FIRST), one_hot(SECOND), TARGET, KNOBS, 0)
    difference = (FIRST == TARGET).astype(float) - (SECOND == TARGET)
    wanted = scipy.stats.bootstrap(
        (difference,), np.mean, method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    assert found["difference"] == pytest.approx(difference.mean())
    assert found["low"] == pytest.approx(wanted.low, abs=0.01)
    assert found["high"] == pytest.approx(wanted.high, abs=0.01)


def test_a_model_against_itself_retains_all_and_differs_by_nothing() -> None:
    found = paired(one_hot(FIRST), one_hot(FIRST), TARGET, KNOBS, 0)
    ones = dict.fromkeys(("retained", "retained_low", "retained_high"), 1.0)
    assert found == {**ones, "difference": 0.0, "confidence": 0.95, "low": 0.0, "high": 0.0}


def test_the_interval_of_the_share_retained_is_that_of_the_ratio() -> None:
    found = paired(one_hot(FIRST), one_hot(SECOND), TARGET, KNOBS, 0)
    right = [(x == TARGET).astype(float) for x in (FIRST, SECOND)]

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return a.mean(axis) / b.mean(axis)

    wanted = scipy.stats.bootstrap(
        right, ratio, paired=True, method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    assert found["retained"] == pytest.approx(right[0].mean() / right[1].mean())
    assert found["retained_low"] == pytest.approx(wanted.low, abs=0.015)
    assert found["retained_high"] == pytest.approx(wanted.high, abs=0.015)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    knobs = Evaluate(resamples=300, confidence=0.9, bins=10)
    covered = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        target = np.zeros(300, int)
        first, second = ((draw.random(300) > p).astype(int) for p in (0.8, 0.7))
        found = paired(one_hot(first), one_hot(second), target, knobs, seed)
        covered += found["low"] <= 0.1 <= found["high"]
    assert 80 <= covered <= 98


def test_models_that_are_not_there_are_left_out() -> None:
    logits = {"student": one_hot(FIRST), "teacher": one_hot(SECOND)}
    drawn = {role: bootstrap.drawn(v, TARGET, TASK.scoring, KNOBS, 0) for role, v in logits.items()}
    found = bootstrap.compare(logits, drawn, TASK.scoring, KNOBS)
    assert set(found) == {"student_teacher"}
    assert found["student_teacher"]["agreement"] == pytest.approx((FIRST == SECOND).mean())


def test_resamples_in_small_parts_are_those_of_one_large_part(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap.drawn(one_hot(FIRST), TARGET, TASK.scoring, KNOBS, 0).resamples
    monkeypatch.setattr(bootstrap, "CHUNK", 3 * len(TARGET))
    assert np.array_equal(whole, bootstrap.drawn(one_hot(FIRST), TARGET, TASK.scoring, KNOBS, 0).resamples)


def test_the_interval_of_one_model_agrees_with_scipy() -> None:
    found = bootstrap.interval(bootstrap.drawn(one_hot(FIRST), TARGET, TASK.scoring, KNOBS, 0), KNOBS)
    right = (FIRST == TARGET).astype(float)
    wanted = scipy.stats.bootstrap((right,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert found == {"low": pytest.approx(wanted.low, abs=0.01), "high": pytest.approx(wanted.high, abs=0.01)}


def shares(student: float, alone: float, teacher: float) -> dict[str, bootstrap.Drawn]:
    """Models that are right on the first so many of 1,000 rows, all of class 0."""
    place, target = np.arange(1000) / 1000, np.zeros(1000, int)
    rights = {"student": student, "alone": alone, "teacher": teacher}
    logits = {role: np.eye(2, dtype=np.float32)[(place >= right).astype(int)] for role, right in rights.items()}
    return {role: bootstrap.drawn(v, target, TASK.scoring, KNOBS, 0) for role, v in logits.items()}


def test_the_gap_that_is_closed_is_a_share_with_an_interval_around_it() -> None:
    found = bootstrap.gap("student", shares(0.85, 0.8, 0.9), KNOBS)
    assert found["closed"] == pytest.approx(0.5)
    # of the 100 rows that differ, about half: a binomial of 100 tries
    assert found["low"] == pytest.approx(0.5 - 1.96 * 0.05, abs=0.02)
    assert found["high"] == pytest.approx(0.5 + 1.96 * 0.05, abs=0.02)


def test_a_teacher_that_is_not_surely_better_leaves_no_gap() -> None:
    found = bootstrap.gap("student", shares(0.8, 0.8, 0.802), KNOBS)
    assert found == {"closed": None, "low": None, "high": None, "gap": "cannot tell"}
    assert bootstrap.gap("student", shares(0.8, 0.9, 0.8), KNOBS)["gap"] == "none"
