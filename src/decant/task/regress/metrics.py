"""Correlations and errors of predicted numbers, in float64."""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

ArrayMetric = Callable[[np.ndarray, np.ndarray], float]
"""From predictions (N,) and targets (N,)."""


def moments(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, 6): 1, x, y, xy, x², y² of x (N,) and y (N,), both centred, which no correlation depends on."""
    x, y = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (first, second))
    return np.stack([np.ones(len(x)), x, y, x * y, x**2, y**2], axis=1)


def correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson's correlation (R,) from sums of `moments` (R, 6); 0 where one of both is constant."""
    n, x, y, xy, xx, yy = sums.T
    spread = np.stack([n * xx - x**2, n * yy - y**2])
    # rounding may leave a tiny variance where there is none
    constant = (spread <= 1e-12 * n * np.stack([xx, yy])).any(0)
    ratio = (n * xy - x * y) / np.sqrt(np.where(constant, 1.0, spread.prod(0)))
    return np.where(constant, 0.0, np.clip(ratio, -1, 1))


def pearson(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Pearson's correlation of (N,) and (N,); 0 where one of both is constant."""
    return float(correlation(moments(predictions, targets).sum(0, keepdims=True))[0])


def spearman(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Spearman's correlation: Pearson's of the ranks; ties get their mean rank."""
    return pearson(rankdata(predictions), rankdata(targets))


def rmse(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Root mean squared error of (N,) and (N,)."""
    return float(np.sqrt(np.mean((predictions.astype(np.float64) - targets) ** 2)))


METRICS: dict[str, ArrayMetric] = {"pearson": pearson, "spearman": spearman, "rmse": rmse}
