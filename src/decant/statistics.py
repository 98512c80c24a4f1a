"""Differences between models, from stored logits, with paired bootstrap intervals."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from decant.sections import Evaluate
from decant.task import Task

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
    ("int8", "alone"),
)
CHUNK = 2**22
"""Drawn rows that are kept in memory at a time."""


def compare(
    logits: dict[str, np.ndarray], target: np.ndarray, task: Task, knobs: Evaluate, seed: int
) -> dict[str, dict[str, Any]]:
    """What each method is worth: {"student_teacher": ...}, each model against its control or its teacher."""
    return {
        f"{a}_{b}": paired(logits[a], logits[b], target, task, knobs, seed)
        for a, b in PAIRS
        if a in logits and b in logits
    }


def interval(logits: np.ndarray, target: np.ndarray, task: Task, knobs: Evaluate, seed: int) -> dict[str, float]:
    """Ends of the bootstrap interval of the headline figure of one model, from logits (N, C) and targets (N, ...)."""
    sums = task.sums(logits, target)
    found = np.concatenate([task.headline(counts @ sums) for counts in draws(len(sums), knobs.resamples, seed)])
    return dict(zip(("low", "high"), ends(found, knobs.confidence), strict=True))


def gap(
    logits: dict[str, np.ndarray], role: str, target: np.ndarray, task: Task, knobs: Evaluate, seed: int
) -> dict[str, Any]:
    """Share of the gap between `alone` and `teacher` that `role` closes, with its interval; none where there is no gap.

    There is one where the teacher is better with `knobs.confidence`: else the share is a number over about 0. In
    resamples where it is not better, the share counts as whatever bound makes the interval wider.
    """
    sums = [task.sums(logits[r], target) for r in (role, "alone", "teacher")]
    parts = [[task.headline(counts @ s) for s in sums] for counts in draws(len(target), knobs.resamples, seed)]
    student, alone, teacher = (np.concatenate(column) for column in zip(*parts, strict=True))
    exact = [float(task.headline(s.sum(0, keepdims=True))[0]) for s in sums]
    if ends(teacher - alone, knobs.confidence)[0] <= 0:
        return {"closed": None, "low": None, "high": None}
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (student - alone) / (teacher - alone)
    there = teacher > alone
    bounds = [ends(np.where(there, shares, worst), knobs.confidence)[i] for i, worst in enumerate((-1e9, 1e9))]
    low, high = (b if abs(b) < 1e8 else None for b in bounds)
    return {"closed": (exact[0] - exact[1]) / (exact[2] - exact[1]), "low": low, "high": high}


def ends(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """What leaves out as much below as above."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def paired(
    first: np.ndarray, second: np.ndarray, target: np.ndarray, task: Task, knobs: Evaluate, seed: int
) -> dict[str, Any]:
    """Agreement, share retained, and the difference of the task's headline figure with its interval.

    Logits (N, C), (N, C), targets (N, ...). The interval is a percentile bootstrap over test rows, the same
    rows for both models (Efron & Tibshirani 1993; Koehn 2004 for its use on test sets).
    """
    sums = [task.sums(logits, target) for logits in (first, second)]
    one, two = (float(task.headline(s.sum(0, keepdims=True))[0]) for s in sums)
    low, high = ends(resampled(sums[0], sums[1], task, knobs.resamples, seed), knobs.confidence)
    return {
        "agreement": task.agreement(first, second),
        "retained": one / two if two > 0 else None,
        "difference": one - two,
        "confidence": knobs.confidence,
        "low": low,
        "high": high,
    }


def resampled(first: np.ndarray, second: np.ndarray, task: Task, resamples: int, seed: int) -> np.ndarray:
    """Differences (R,) of the headline figure over resamples of the rows, from what each row adds (N, K)."""
    found = (task.headline(c @ first) - task.headline(c @ second) for c in draws(len(first), resamples, seed))
    return np.concatenate(list(found))


def draws(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row is drawn (R, N), in parts: the same for every model, as pairs have to be."""
    generator = np.random.default_rng(seed)
    for size in chunks(resamples, max(1, CHUNK // rows)):
        drawn = generator.integers(0, rows, (size, rows))
        yield np.stack([np.bincount(d, minlength=rows) for d in drawn]).astype(float)


def chunks(total: int, most: int) -> list[int]:
    """`total` in parts of at most `most`."""
    return [min(most, total - start) for start in range(0, total, most)]
