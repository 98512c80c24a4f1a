"""A task: what a target is, from the label in a table to the figures of the report.

The head, its supervised loss, what a soft target means for it, and how it is scored.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torchmetrics import MetricCollection
from transformers import PreTrainedModel

from decant.adapt import Adapt

Tables = dict[str, pd.DataFrame]


class Task(ABC):
    """One kind of target."""

    monitor: str
    """Name of the figure that chooses the epoch and heads the report: at most 1, larger is better."""
    columns: dict[str, str]
    """Figures in the report's table, each at most 1, and how they are called there."""
    single_label: bool = False
    """Whether a row has one class of several, whose probabilities are the softmax of its logits."""
    smooths: bool = True
    """Whether its targets can be smoothed."""
    width: float = 1.0
    """What a difference of logits is measured in."""
    agreeing: str = "agrees on {} % of test"
    """`agreement`, times 100, in a sentence on two models."""

    # --- the table: prepare

    @abstractmethod
    def read(self, target: "pd.Series[Any]") -> "pd.Series[Any]":
        """Targets as compared and encoded; null where there is none.

        Raises:
            UserError: values that are no targets.
        """

    @abstractmethod
    def problems(self, tables: Tables) -> list[str]:
        """What is wrong with the targets over all labelled splits together."""

    @abstractmethod
    def rare(self, train: pd.DataFrame) -> list[str]:
        """What train has too little of to be split."""

    @abstractmethod
    def strata(self, target: "pd.Series[Any]") -> "pd.Series[Any] | None":
        """What a cut keeps the shares of, from targets as read or as encoded; none: a cut is random."""

    @abstractmethod
    def labels(self, target: "pd.Series[Any]") -> list[str]:
        """The names behind the numbers of a target."""

    @abstractmethod
    def encode(self, target: "pd.Series[Any]", labels: list[str]) -> list[Any]:
        """Targets as the tables hold them; a null becomes one that adds nothing to `loss`."""

    @abstractmethod
    def describe(self, read: "pd.Series[Any]", target: "pd.Series[Any]", labels: list[str]) -> dict[str, Any]:
        """What card.json says of the targets of a split, as they were read and as they are encoded."""

    # --- the network: fine-tune, distill

    @abstractmethod
    def model(self, folder: Path, labels: list[str], auto: Any, adapt: Adapt) -> PreTrainedModel:
        """The network of a model directory with a head for `labels`; new parts are drawn from the global seed."""

    @abstractmethod
    def loss(self, logits: torch.Tensor, target: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """The supervised loss, a scalar, of logits (B, C) and a batch of targets; rows without a label add nothing."""

    @abstractmethod
    def divergence(self, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """How far a student (B, C) is from soft targets (B, C), a scalar; its gradient keeps its size over T."""

    def start(self, network: PreTrainedModel, target: np.ndarray, soft: np.ndarray | None) -> None:  # noqa: B027
        """Set what a new head says before training; default: nothing.

        From encoded targets (N, ...) or, of a student, the logits of its teacher (N, C).
        """

    @abstractmethod
    def metrics(self, classes: int) -> MetricCollection:
        """What is measured on validation after each epoch, from logits (B, C) and a batch of targets."""

    @abstractmethod
    def standard_error(self, score: float, rows: int) -> float:
        """Of `monitor`, measured on so many rows: epochs within one of the best count as equal to it."""

    def ensemble(self, logits: np.ndarray) -> np.ndarray:
        """Logits (N, C), float32, of several models together, from those of each (K, N, C); default: their mean."""
        return logits.mean(0, dtype=np.float64).astype(np.float32)

    # --- the figures: evaluate

    @abstractmethod
    def linear(self, strength: float) -> Any:
        """scikit-learn's estimator for the linear floor; `strength`: inverse regularisation."""

    @abstractmethod
    def linear_logits(self, estimator: Any, inputs: Any) -> np.ndarray:
        """Logits (N, C), float32, of a fitted estimator or pipeline."""

    @abstractmethod
    def scores(self, logits: np.ndarray, target: np.ndarray, labels: list[str], bins: int) -> dict[str, Any]:
        """All figures of one model on test, from logits (N, C) and encoded targets."""

    @abstractmethod
    def sums(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(N, K): what each row adds to the sums that `headline` is a function of."""

    @abstractmethod
    def headline(self, sums: np.ndarray) -> np.ndarray:
        """`monitor` (R,) from sums over rows (R, K)."""

    @abstractmethod
    def agreement(self, first: np.ndarray, second: np.ndarray) -> float:
        """How alike two models answer, from their logits (N, C), at most 1."""

    @abstractmethod
    def plots(self, logits: np.ndarray, target: np.ndarray, labels: list[str], folder: Path) -> None:
        """Write pictures of a model's answers on test to `folder`."""


def primary_metric(logits: np.ndarray, target: np.ndarray, task: Task) -> float:
    """The figure that heads the report, from logits (N, C) and encoded targets."""
    return float(task.headline(task.sums(logits, target).sum(0, keepdims=True))[0])
