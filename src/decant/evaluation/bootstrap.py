"""Confidence intervals and paired comparisons of models, from what each test row adds to the primary metric."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from decant.config.schema import Evaluate
from decant.evaluation.roles import COMPARISONS, Metrics, comparison
from decant.task import Scoring

MAX_DRAWN_ROWS = 2**22
"""Drawn rows that are held in memory at a time."""
UNBOUNDED = 1e9
"""Stands for an infinite share in a quantile."""


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class BootstrapSamples:
    """The primary metric of one model on all rows, and on resamples of them (R,) that are the same for every model."""

    score: float
    resampled: np.ndarray


def resample(statistics: np.ndarray, scoring: Scoring, settings: Evaluate, seed: int) -> BootstrapSamples:
    """Draw the bootstrap samples of one model from its sufficient statistics (N, K).

    Not scipy.stats.bootstrap: it would draw anew for each pair of models and gather the rows of each resample. Here all
    models share one set of draws, chunk by chunk, and a resample is a row of a matrix product.
    """
    score = float(scoring.primary_metric_from(statistics.sum(0, keepdims=True))[0])
    counts = row_counts(len(statistics), settings.resamples, seed)
    return BootstrapSamples(score, np.concatenate([scoring.primary_metric_from(c @ statistics) for c in counts]))


def row_counts(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each resample draws each row (R, N), in chunks; equal for all models, so that they can be paired."""
    generator = np.random.default_rng(seed)
    for size in chunk_sizes(resamples, max(1, MAX_DRAWN_ROWS // rows)):
        drawn = generator.integers(0, rows, (size, rows))
        yield np.stack([np.bincount(row, minlength=rows) for row in drawn]).astype(float)


def chunk_sizes(total: int, most: int) -> list[int]:
    """`total` in chunks of at most `most`."""
    return [min(most, total - start) for start in range(0, total, most)]


def confidence_interval(values: np.ndarray, confidence: float) -> Interval:
    """The percentile interval of `values` (R,): as many lie below it as above."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def compare(
    logits: Mapping[str, np.ndarray], samples: Mapping[str, BootstrapSamples], scoring: Scoring, settings: Evaluate
) -> dict[str, Metrics]:
    """{"student_vs_teacher": ...} for all `COMPARISONS` whose models are there, by role."""
    return {
        comparison(first, second): {
            **compare_pair(samples[first], samples[second], settings.confidence),
            "agreement": scoring.agreement(logits[first], logits[second]),
        }
        for first, second in COMPARISONS
        if first in logits and second in logits
    }


def compare_pair(first: BootstrapSamples, second: BootstrapSamples, confidence: float) -> Metrics:
    """The difference and the ratio (share retained) of two models, with their intervals.

    A percentile bootstrap over test rows, the same rows for both models (Efron & Tibshirani 1993; Koehn 2004 for its
    use on test sets).
    """
    positive = second.resampled.min() > 0
    retained = confidence_interval(first.resampled / second.resampled, confidence) if positive else None
    return {
        "difference": first.score - second.score,
        "confidence": confidence,
        **confidence_interval(first.resampled - second.resampled, confidence)._asdict(),
        "retained": first.score / second.score if second.score > 0 else None,
        "retained_low": retained.low if retained else None,
        "retained_high": retained.high if retained else None,
    }


def gap_closed(
    student: BootstrapSamples, alone: BootstrapSamples, teacher: BootstrapSamples, confidence: float
) -> Metrics:
    """Share of the gap between a student alone and its teacher that `student` closes, with its interval.

    There is a gap if the teacher is better at this confidence; else the share would be a number divided by about 0. In
    resamples in which the teacher is not better, the share counts as the bound that makes the interval wider.
    """
    width = teacher.resampled - alone.resampled
    low, high = confidence_interval(width, confidence)
    if low <= 0:
        return {"closed": None, "low": None, "high": None, "gap": "none" if high <= 0 else "cannot tell"}
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (student.resampled - alone.resampled) / width
    lowest, highest = (
        confidence_interval(np.where(width > 0, shares, worst), confidence) for worst in (-UNBOUNDED, UNBOUNDED)
    )
    bounds = [bound if abs(bound) < UNBOUNDED / 10 else None for bound in (lowest.low, highest.high)]
    closed = (student.score - alone.score) / (teacher.score - alone.score)
    return {"closed": closed, "low": bounds[0], "high": bounds[1], "gap": "exists"}


def permutation_p_value(first: np.ndarray, second: np.ndarray, scoring: Scoring, resamples: int, seed: int) -> float:
    """Two-sided p-value of a difference of the primary metric, from two models' statistics (N, K) of the same rows.

    A paired permutation test: if the models were alike, each row's two predictions might as well be swapped (Edgington
    1969; Noreen 1989). At least 1 / (resamples + 1).
    """
    generator = np.random.default_rng(seed)
    total, differences = (first + second).sum(0), second - first

    def difference(signs: np.ndarray) -> np.ndarray:
        shift = signs @ differences
        return scoring.primary_metric_from((total + shift) / 2) - scoring.primary_metric_from((total - shift) / 2)

    observed = abs(difference(np.ones((1, len(first))))[0])
    extreme = sum(
        int((abs(difference(generator.choice([-1.0, 1.0], (size, len(first))))) >= observed - 1e-12).sum())
        for size in chunk_sizes(resamples, max(1, MAX_DRAWN_ROWS // len(first)))
    )
    return (extreme + 1) / (resamples + 1)
