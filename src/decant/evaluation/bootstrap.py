"""Differences between models, from stored logits, with paired bootstrap intervals."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from decant.config.schema import Evaluate
from decant.task import Scoring

PAIRS = (
    ("student", "teacher"),
    ("student", "alone"),
    ("student", "scratch"),
    ("teacher", "scratch"),
    ("teacher", "floor"),
    ("student", "floor"),
    ("onnx", "student"),
    ("int8", "student"),
    ("int8", "teacher"),
)
CHUNK = 2**22
"""Drawn rows that are kept in memory at a time."""


@dataclass(frozen=True)
class Drawn:
    """The headline figure of one model: on all rows, and over resamples of them (R,), the same for every model."""

    exact: float
    resamples: np.ndarray


def drawn(logits: np.ndarray, target: np.ndarray, scoring: Scoring, knobs: Evaluate, seed: int) -> Drawn:
    """Of logits (N, C) and targets (N, ...)."""
    return resampled(scoring.sufficient_statistics(logits, target), scoring, knobs, seed)


def resampled(sums: np.ndarray, scoring: Scoring, knobs: Evaluate, seed: int) -> Drawn:
    """Of the sums of rows (N, K)."""
    exact = float(scoring.primary_metric_from(sums.sum(0, keepdims=True))[0])
    parts = (scoring.primary_metric_from(counts @ sums) for counts in draws(len(sums), knobs.resamples, seed))
    return Drawn(exact, np.concatenate(list(parts)))


def compare(
    logits: dict[str, np.ndarray], scores: dict[str, Drawn], scoring: Scoring, knobs: Evaluate
) -> dict[str, dict[str, Any]]:
    """What each method is worth: {"student_teacher": ...}, each model against its control or its teacher."""
    return {
        f"{a}_{b}": {**between(scores[a], scores[b], knobs), "agreement": scoring.agreement(logits[a], logits[b])}
        for a, b in PAIRS
        if a in logits and b in logits
    }


def interval(score: Drawn, knobs: Evaluate) -> dict[str, float]:
    """Ends of the interval of one model."""
    return dict(zip(("low", "high"), ends(score.resamples, knobs.confidence), strict=True))


def gap(role: str, scores: dict[str, Drawn], knobs: Evaluate) -> dict[str, Any]:
    """Share of the gap between `alone` and `teacher` that `role` closes, with its interval; none where there is no gap.

    There is one where the teacher is better with `knobs.confidence`: else the share is a number over about 0. In
    resamples where it is not better, the share counts as whatever bound makes the interval wider.
    """
    student, alone, teacher = (scores[r] for r in (role, "alone", "teacher"))
    width = teacher.resamples - alone.resamples
    least, most = ends(width, knobs.confidence)
    if least <= 0:
        return {"closed": None, "low": None, "high": None, "gap": "none" if most <= 0 else "cannot tell"}
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (student.resamples - alone.resamples) / width
    bounds = [ends(np.where(width > 0, shares, worst), knobs.confidence)[i] for i, worst in enumerate((-1e9, 1e9))]
    low, high = (b if abs(b) < 1e8 else None for b in bounds)
    closed = (student.exact - alone.exact) / (teacher.exact - alone.exact)
    return {"closed": closed, "low": low, "high": high, "gap": "there"}


def ends(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """What leaves out as much below as above."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def between(first: Drawn, second: Drawn, knobs: Evaluate) -> dict[str, Any]:
    """The difference and the ratio (share retained) of two models, with their intervals.

    A percentile bootstrap over test rows, the same rows for both models (Efron & Tibshirani 1993; Koehn 2004 for its
    use on test sets).
    """
    low, high = ends(first.resamples - second.resamples, knobs.confidence)
    found = {
        "difference": first.exact - second.exact,
        "confidence": knobs.confidence,
        "low": low,
        "high": high,
        "retained": None,
        "retained_low": None,
        "retained_high": None,
    }
    if second.exact > 0:
        found["retained"] = first.exact / second.exact
    if second.resamples.min() > 0:
        ratios = ends(first.resamples / second.resamples, knobs.confidence)
        found["retained_low"], found["retained_high"] = ratios
    return found


def permuted(first: np.ndarray, second: np.ndarray, scoring: Scoring, resamples: int, seed: int) -> float:
    """Two-sided p-value of a difference of headline figures, from the sums of the same rows (N, K) of two models.

    A paired permutation test: were they alike, each row's two answers might as well have been swapped (Edgington 1969;
    Noreen 1989). At least 1 / (resamples + 1).
    """
    generator = np.random.default_rng(seed)
    both, apart = first + second, second - first

    def difference(signs: np.ndarray) -> np.ndarray:
        moved = signs @ apart
        return scoring.primary_metric_from((both.sum(0) + moved) / 2) - scoring.primary_metric_from(
            (both.sum(0) - moved) / 2
        )

    observed = abs(difference(np.ones((1, len(both))))[0])
    extreme = sum(
        int((abs(difference(generator.choice([-1.0, 1.0], (size, len(both))))) >= observed - 1e-12).sum())
        for size in chunks(resamples, max(1, CHUNK // len(both)))
    )
    return (extreme + 1) / (resamples + 1)


def draws(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row is drawn (R, N), in parts: the same for every model, as pairs have to be."""
    generator = np.random.default_rng(seed)
    for size in chunks(resamples, max(1, CHUNK // rows)):
        drawn = generator.integers(0, rows, (size, rows))
        yield np.stack([np.bincount(d, minlength=rows) for d in drawn]).astype(float)


def chunks(total: int, most: int) -> list[int]:
    """`total` in parts of at most `most`."""
    return [min(most, total - start) for start in range(0, total, most)]
