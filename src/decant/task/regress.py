"""A number: one output, squared error, Pearson's and Spearman's correlation. A soft target is a number too."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat
from transformers import PreTrainedModel

from decant.adapt import Adapt
from decant.core.errors import UserError
from decant.models import directory
from decant.task import Tables, Task

Figure = Callable[[np.ndarray, np.ndarray], float]


class Whole(Metric):
    """A figure of all answers and targets together; none of these is an average over batches."""

    answers: list[torch.Tensor]
    targets: list[torch.Tensor]

    def __init__(self, figure: Figure) -> None:
        super().__init__()
        self.figure = figure
        self.add_state("answers", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, logits: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch of answers (B, 1) and targets (B,)."""
        self.answers.append(logits[:, 0].float())
        self.targets.append(target)

    def compute(self) -> torch.Tensor:
        """The figure, a scalar."""
        # after a sync between devices a state is one tensor
        answers, targets = (dim_zero_cat(s).cpu().numpy() for s in (self.answers, self.targets))
        return torch.tensor(self.figure(answers, targets))


class Regress(Task):
    """Regression; a target is a number in the user's own units, and so is an answer; NaN for none.

    Args:
        low: smallest target there can be; none: no bound.
        high: largest target there can be. The loss is taken of targets divided by `high - low`, so that lr and
            the weights of a distillation mean the same on every scale; without a range, have targets of about 1.
    """

    monitor = "pearson"
    columns = {"pearson": "Pearson x 100", "spearman": "Spearman x 100"}
    smooths = False
    agreeing = "Pearson x 100 of both: {}"

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        if (low is None) != (high is None):
            raise UserError(f"low is {low} and high is {high}, expected two numbers, or null for both")
        if low is not None and high is not None and not -math.inf < low < high < math.inf:
            raise UserError(f"low is {low} and high is {high}, expected finite numbers, low below high")
        self.low, self.high = low, high
        self.width = 1.0 if low is None or high is None else float(high - low)

    def read(self, target: "pd.Series[Any]") -> "pd.Series[Any]":
        """Finite numbers; a blank one is none.

        Raises:
            UserError: targets that are no numbers, or out of range.
        """
        text = target.astype("string").str.strip()
        text = text.mask(text == "")
        numbers = pd.to_numeric(text, errors="coerce").astype("Float64").astype(float)
        with np.errstate(over="ignore"):
            bad = text.notna() & ~np.isfinite(numbers.astype(np.float32))
        if bad.any():
            first = text[bad].iloc[0]
            raise UserError(f"{bad.sum()} targets are no numbers (first: {first!r}), or exceed 32 bits; correct them")
        if self.low is None or self.high is None:
            return numbers
        bad = (numbers < self.low) | (numbers > self.high)
        if bad.any():
            raise UserError(
                f"{bad.sum()} targets are outside [{self.low:g}, {self.high:g}] (first: {numbers[bad].iloc[0]:g}); "
                "correct them, or low: and high: in conf/task/regress.yaml"
            )
        return numbers

    def problems(self, tables: Tables) -> list[str]:
        """Splits with one target alone: nothing correlates with it."""
        return [
            f"{split} has the single target {tables[split]['target'].iloc[0]:g}; expected at least two different ones"
            for split in ("train", "validation", "test")
            if split in tables and tables[split]["target"].astype(np.float32).nunique() < 2
        ]

    def rare(self, train: pd.DataFrame) -> list[str]:
        """Nothing: any number will do."""
        return []

    def strata(self, target: "pd.Series[Any]") -> "pd.Series[Any] | None":
        """None: a cut is random."""
        return None

    def labels(self, target: "pd.Series[Any]") -> list[str]:
        """The name of the output."""
        return ["score"]

    def encode(self, target: "pd.Series[Any]", labels: list[str]) -> list[Any]:
        """float32; NaN: not known."""
        return [np.float32(np.nan if t is None else t) for t in target]

    def describe(self, read: "pd.Series[Any]", target: "pd.Series[Any]", labels: list[str]) -> dict[str, Any]:
        """Range, mean and spread."""
        known = target.astype(float).dropna()
        figures = {"min": known.min(), "mean": known.mean(), "max": known.max(), "std": known.std(ddof=0)}
        return {"targets": {k: round(float(v), 4) for k, v in figures.items()}} if len(known) else {}

    def model(self, folder: Path, labels: list[str], auto: Any, adapt: Adapt) -> PreTrainedModel:
        """See `Task.model`."""
        head = {"id2label": {0: labels[0]}, "label2id": {labels[0]: 0}, "num_labels": 1}
        return directory.with_head(auto, folder, adapt, **head, problem_type="regression")

    def loss(self, logits: torch.Tensor, target: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Squared error in units of the range, averaged over all B rows (also the ones without a target).

        Raises:
            ValueError: label smoothing, which is for classes; shapes other than (B, 1) and (B,): broadcasting would
                train nonsense.
        """
        if smoothing:
            raise ValueError(f"a number cannot be smoothed, found smoothing {smoothing}")
        if target.dim() != 1 or logits.shape != (len(target), 1):
            raise ValueError(f"expected (B, 1) and (B,), found {tuple(logits.shape)} and {tuple(target.shape)}")
        known = ~target.isnan()
        # not masked afterwards: the gradient of 0 times NaN is NaN
        errors = (logits[:, 0].float() - target.nan_to_num()) / self.width
        return (errors.square() * known).sum() / len(target)

    def divergence(self, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """Squared distance in units of the range, averaged over rows; a number has no temperature to soften it."""
        return ((student.float() - teacher.float()) / self.width).square().mean()

    def metrics(self, classes: int) -> MetricCollection:
        """See `Task.metrics`."""
        return MetricCollection({f.__name__: Whole(f) for f in (pearson, spearman, rmse)})

    def standard_error(self, score: float, rows: int) -> float:
        """Of a correlation of numbers that are about normal: (1 - r²) / sqrt(n - 1)."""
        return (1 - score**2) / math.sqrt(max(rows - 1, 1))

    def linear(self, strength: float) -> Any:
        """Ridge regression."""
        return Ridge(alpha=1 / strength)

    def linear_logits(self, estimator: Any, inputs: Any) -> np.ndarray:
        """Answers."""
        return estimator.predict(inputs).astype(np.float32).reshape(-1, 1)

    def scores(self, logits: np.ndarray, target: np.ndarray, labels: list[str], bins: int) -> dict[str, Any]:
        """Pearson's and Spearman's correlation, in [-1, 1], and root mean squared error in the user's units."""
        return {f.__name__: f(logits[:, 0], target) for f in (pearson, spearman, rmse)}

    def sums(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """See `moments`."""
        return moments(logits[:, 0], target)

    def headline(self, sums: np.ndarray) -> np.ndarray:
        """Pearson's correlation."""
        return correlation(sums)

    def agreement(self, first: np.ndarray, second: np.ndarray) -> float:
        """Pearson's correlation of the two."""
        return pearson(first[:, 0], second[:, 0])

    def plots(self, logits: np.ndarray, target: np.ndarray, labels: list[str], folder: Path) -> None:
        """Answers against targets."""
        from decant.evaluation import plots  # matplotlib takes a second to import

        plots.scatter(logits[:, 0], target, folder)


def moments(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, 6): 1, x, y, xy, x², y² of x (N,) and y (N,), each less its mean: a correlation does not see the shift."""
    x, y = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (first, second))
    return np.stack([np.ones(len(x)), x, y, x * y, x**2, y**2], axis=1)


def correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson's correlation (R,) from sums of `moments` (R, 6); 0 where one of both does not vary."""
    n, x, y, xy, xx, yy = sums.T
    spread = np.stack([n * xx - x**2, n * yy - y**2])
    # what rounding leaves of no variance is none
    flat = (spread <= 1e-12 * n * np.stack([xx, yy])).any(0)
    found = (n * xy - x * y) / np.sqrt(np.where(flat, 1.0, spread.prod(0)))
    return np.where(flat, 0.0, np.clip(found, -1, 1))


def pearson(answers: np.ndarray, targets: np.ndarray) -> float:
    """Pearson's correlation of (N,) and (N,); 0 where one of both does not vary."""
    return float(correlation(moments(answers, targets).sum(0, keepdims=True))[0])


def spearman(answers: np.ndarray, targets: np.ndarray) -> float:
    """Spearman's: Pearson's correlation of the ranks, ties at their mean."""
    return pearson(rankdata(answers), rankdata(targets))


def rmse(answers: np.ndarray, targets: np.ndarray) -> float:
    """Root mean squared error of (N,) and (N,)."""
    return float(np.sqrt(np.mean((answers.astype(np.float64) - targets) ** 2)))
