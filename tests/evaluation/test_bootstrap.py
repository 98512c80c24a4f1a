"""Intervals and comparisons against scipy, and how often they hold."""

from typing import Any

import numpy as np
import pytest
import scipy.stats

from decant.config.schema import Evaluate
from decant.evaluation import bootstrap
from decant.task.classify import Classify

SCORING = Classify().scoring
SETTINGS = Evaluate(resamples=4000, confidence=0.95, bins=10)
RANDOM = np.random.default_rng(0)
TARGET = RANDOM.integers(0, 3, 200)
FIRST = np.where(RANDOM.random(200) < 0.8, TARGET, RANDOM.integers(0, 3, 200))
SECOND = np.where(RANDOM.random(200) < 0.7, TARGET, RANDOM.integers(0, 3, 200))


def paired(first: np.ndarray, second: np.ndarray, target: np.ndarray, settings: Evaluate, seed: int) -> dict[str, Any]:
    return bootstrap.compare_pair(*(sampled(x, target, settings, seed) for x in (first, second)), settings.confidence)


def sampled(
    logits: np.ndarray, target: np.ndarray = TARGET, settings: Evaluate = SETTINGS, seed: int = 0
) -> bootstrap.BootstrapSamples:
    return bootstrap.resample(SCORING.sufficient_statistics(logits, target), SCORING, settings, seed)


def one_hot(predicted: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[predicted] * 5


def test_the_interval_agrees_with_scipy() -> None:
    comparison = paired(one_hot(FIRST), one_hot(SECOND), TARGET, SETTINGS, 0)
    difference = (FIRST == TARGET).astype(float) - (SECOND == TARGET)
    wanted = scipy.stats.bootstrap(
        (difference,), np.mean, method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    assert comparison["difference"] == pytest.approx(difference.mean())
    assert comparison["low"] == pytest.approx(wanted.low, abs=0.01)
    assert comparison["high"] == pytest.approx(wanted.high, abs=0.01)


def test_a_model_against_itself_retains_all_and_differs_by_nothing() -> None:
    comparison = paired(one_hot(FIRST), one_hot(FIRST), TARGET, SETTINGS, 0)
    ones = dict.fromkeys(("retained", "retained_low", "retained_high"), 1.0)
    assert comparison == {**ones, "difference": 0.0, "confidence": 0.95, "low": 0.0, "high": 0.0}


def test_the_interval_of_the_share_retained_is_that_of_the_ratio() -> None:
    comparison = paired(one_hot(FIRST), one_hot(SECOND), TARGET, SETTINGS, 0)
    right = [(x == TARGET).astype(float) for x in (FIRST, SECOND)]

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return a.mean(axis) / b.mean(axis)

    wanted = scipy.stats.bootstrap(
        right, ratio, paired=True, method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    assert comparison["retained"] == pytest.approx(right[0].mean() / right[1].mean())
    assert comparison["retained_low"] == pytest.approx(wanted.low, abs=0.015)
    assert comparison["retained_high"] == pytest.approx(wanted.high, abs=0.015)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    settings = Evaluate(resamples=300, confidence=0.9, bins=10)
    covered = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        target = np.zeros(300, int)
        first, second = ((draw.random(300) > p).astype(int) for p in (0.8, 0.7))
        comparison = paired(one_hot(first), one_hot(second), target, settings, seed)
        covered += comparison["low"] <= 0.1 <= comparison["high"]
    assert 80 <= covered <= 98


def test_models_that_are_not_there_are_left_out() -> None:
    logits = {"student": one_hot(FIRST), "teacher": one_hot(SECOND)}
    samples = {role: sampled(v) for role, v in logits.items()}
    comparisons = bootstrap.compare(logits, samples, SCORING, SETTINGS)
    assert set(comparisons) == {"student_vs_teacher"}
    assert comparisons["student_vs_teacher"]["agreement"] == pytest.approx((FIRST == SECOND).mean())


def test_resamples_in_small_parts_are_those_of_one_large_part(monkeypatch: pytest.MonkeyPatch) -> None:
    resampled = sampled(one_hot(FIRST)).resampled
    monkeypatch.setattr(bootstrap, "MAX_DRAWN_ROWS", 3 * len(TARGET))
    assert np.array_equal(resampled, sampled(one_hot(FIRST)).resampled)


def test_the_interval_of_one_model_agrees_with_scipy() -> None:
    interval = bootstrap.confidence_interval(sampled(one_hot(FIRST)).resampled, SETTINGS.confidence)
    right = (FIRST == TARGET).astype(float)
    wanted = scipy.stats.bootstrap((right,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert interval == (pytest.approx(wanted.low, abs=0.01), pytest.approx(wanted.high, abs=0.01))


def gap_closed(student: float, alone: float, teacher: float) -> dict[str, Any]:
    """Of models that are right on the first so many of 1,000 rows, all of class 0."""
    place, target = np.arange(1000) / 1000, np.zeros(1000, int)
    logits = [np.eye(2, dtype=np.float32)[(place >= right).astype(int)] for right in (student, alone, teacher)]
    return bootstrap.gap_closed(*(sampled(values, target) for values in logits), SETTINGS.confidence)


def test_the_gap_that_is_closed_is_a_share_with_an_interval_around_it() -> None:
    gap = gap_closed(0.85, 0.8, 0.9)
    assert gap["closed"] == pytest.approx(0.5)
    # of the 100 rows that differ, about half: a binomial of 100 tries
    assert gap["low"] == pytest.approx(0.5 - 1.96 * 0.05, abs=0.02)
    assert gap["high"] == pytest.approx(0.5 + 1.96 * 0.05, abs=0.02)


def test_a_teacher_that_is_not_surely_better_leaves_no_gap() -> None:
    gap = gap_closed(0.8, 0.8, 0.802)
    assert gap == {"closed": None, "low": None, "high": None, "gap": "cannot tell"}
    assert gap_closed(0.8, 0.9, 0.8)["gap"] == "none"
