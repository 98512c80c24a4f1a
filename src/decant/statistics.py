"""Differences between models, from stored logits, with paired bootstrap intervals."""

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


def paired(
    first: np.ndarray, second: np.ndarray, target: np.ndarray, task: Task, knobs: Evaluate, seed: int
) -> dict[str, Any]:
    """Agreement, share retained, and the difference of the task's headline figure with its interval.

    Logits (N, C), (N, C), targets (N, ...). The interval is a percentile bootstrap over test rows, the same
    rows for both models (Efron & Tibshirani 1993; Koehn 2004 for its use on test sets).
    """
    sums = [task.sums(logits, target) for logits in (first, second)]
    one, two = (float(task.headline(s.sum(0, keepdims=True))[0]) for s in sums)
    differences = resampled(sums[0], sums[1], task, knobs.resamples, seed)
    tail = (1 - knobs.confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return {
        "agreement": task.agreement(first, second),
        "retained": one / two if two > 0 else None,
        "difference": one - two,
        "confidence": knobs.confidence,
        "low": float(low),
        "high": float(high),
    }


def resampled(first: np.ndarray, second: np.ndarray, task: Task, resamples: int, seed: int) -> np.ndarray:
    """Differences (R,) of the headline figure over resamples of the rows, from what each row adds (N, K)."""
    generator = np.random.default_rng(seed)
    rows = len(first)
    parts = []
    for size in chunks(resamples, max(1, CHUNK // rows)):
        drawn = generator.integers(0, rows, (size, rows))
        counts = np.stack([np.bincount(d, minlength=rows) for d in drawn]).astype(float)  # (R, N)
        parts.append(task.headline(counts @ first) - task.headline(counts @ second))
    return np.concatenate(parts)


def chunks(total: int, most: int) -> list[int]:
    """`total` in parts of at most `most`."""
    return [min(most, total - start) for start in range(0, total, most)]
