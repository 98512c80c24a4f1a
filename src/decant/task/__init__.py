"""A task: what a target is. It consists of three objects, one for each part of the pipeline that asks.

`Target` serves prepare, `Objective` serves training, and `Scoring` serves evaluation. Read this file before adding a
task: a module `decant/task/<name>` with a subclass of `Task`, and conf/task/<name>.yaml.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torchmetrics import MetricCollection
from transformers import PreTrainedModel

from decant.models import directory
from decant.models.directory import Head

Column: TypeAlias = "pd.Series[Any]"
"""A target column: as the data source gave it, parsed, or encoded."""
Facts = dict[str, Any]
"""Statistics or metrics by name, as JSON holds them."""
Tables = dict[str, pd.DataFrame]
"""{split: rows}."""


class Target(ABC):
    """From the target column of a table to encoded targets, and what is wrong with them."""

    @abstractmethod
    def read(self, column: Column) -> Column:
        """Parse a column as the data source gave it; a missing target becomes null.

        Raises:
            UserError: values that are no targets.
        """

    @abstractmethod
    def problems(self, tables: Tables) -> list[str]:
        """Check the targets of all labelled splits together; return one message per problem."""

    def check_class_counts(self, train: pd.DataFrame) -> list[str]:
        """Check that train has enough rows of each class to be split; return one message per problem."""
        return []

    def strata(self, targets: Column) -> "Column | None":
        """The class of each row for stratified splits, from parsed or encoded targets; None: split at random."""
        return None

    @abstractmethod
    def labels(self, targets: Column) -> list[str]:
        """The names of the outputs, in the order of the logits."""

    @abstractmethod
    def encode(self, targets: Column, labels: list[str]) -> list[Any]:
        """Encode parsed targets as the prepared tables store them; a null becomes a value that `loss` ignores."""

    @abstractmethod
    def describe(self, targets: Column, encoded: Column, labels: list[str]) -> Facts:
        """Statistics of one split for card.json, from its parsed and its encoded targets."""


class Objective(ABC):
    """The head of the network, what is minimised, and what is measured after each epoch."""

    problem_type: str
    """Name of the head's kind in transformers' config.json."""
    monitor: str
    """Validation metric that chooses the epoch: at most 1, larger is better; equal to `Scoring.primary_metric`."""
    single_label: bool = False
    """Whether a row has exactly one class, whose probabilities are the softmax of its logits."""
    allows_label_smoothing: bool = True
    """Whether `loss` accepts a smoothing above 0."""
    logit_scale: float = 1.0
    """Losses that compare logits as numbers divide them by this."""

    def build_network(self, folder: Path, labels: list[str], auto: object, head: Head) -> PreTrainedModel:
        """The network of a model directory with a head for `labels`; new weights come from the global generator.

        `auto`: transformers' class that puts a head on a backbone, such as AutoModelForSequenceClassification.
        """
        names = dict(enumerate(labels))
        config = {"id2label": names, "label2id": {name: i for i, name in names.items()}, "num_labels": len(names)}
        # explicit: the backbone's own config.json may hold another problem type
        return directory.with_head(auto, folder, head, **config, problem_type=self.problem_type)

    def init_head_bias(  # noqa: B027
        self, network: PreTrainedModel, target: np.ndarray, soft: np.ndarray | None
    ) -> None:
        """Set the bias of a new head before training; default: leave it.

        From encoded targets (N, ...) or, for a student, from its teacher's logits (N, C).
        """

    @abstractmethod
    def loss(self, logits: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        """The supervised loss, a scalar, of logits (B, C) and encoded targets (B, ...); rows without a target add 0."""

    @abstractmethod
    def divergence(self, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """Distance of a student's logits (B, C) from soft targets (B, C), a scalar.

        Its gradient has the same magnitude at every temperature.
        """

    @abstractmethod
    def validation_metrics(self, classes: int) -> MetricCollection:
        """Metrics of logits (B, C) and encoded targets (B, ...), one of them `monitor`."""

    @abstractmethod
    def standard_error(self, score: float, rows: int) -> float:
        """Standard error of `monitor` on so many rows: epochs within one of the best count as equal to it."""

    def ensemble(self, logits: np.ndarray) -> np.ndarray:
        """Logits (N, C), float32, of an ensemble, from its members' (K, N, C); default: their mean."""
        return logits.mean(0, dtype=np.float64).astype(np.float32)


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix, from class indices (N,) and (N,)."""

    predicted: np.ndarray
    target: np.ndarray
    labels: list[str]


@dataclass(frozen=True)
class LabelScores:
    """Bars: one score (C,) in [0, 1] per label, with its number of test rows (C,)."""

    metric: str
    scores: np.ndarray
    support: np.ndarray
    labels: list[str]


@dataclass(frozen=True)
class Scatter:
    """Predicted numbers (N,) against targets (N,)."""

    predicted: np.ndarray
    target: np.ndarray


Picture = Confusion | LabelScores | Scatter


class Scoring(ABC):
    """What evaluate measures on test, and the linear baseline."""

    primary_metric: str
    """Name of the metric that heads the report: at most 1, larger is better."""
    metric_titles: dict[str, str]
    """Columns of the report's table, {metric: title}; each metric is at most 1 and shown times 100."""
    agreement_sentence: str = "agrees on {} % of test"
    """How the report words `agreement`, times 100, of two models."""

    @abstractmethod
    def linear_estimator(self, strength: float) -> Any:
        """scikit-learn's estimator for the linear baseline; `strength`: inverse regularisation."""

    @abstractmethod
    def linear_logits(self, estimator: object, inputs: object) -> np.ndarray:
        """Logits (N, C), float32, of a fitted estimator or pipeline."""

    @abstractmethod
    def metrics(self, logits: np.ndarray, target: np.ndarray, labels: list[str], bins: int) -> Facts:
        """All metrics of one model on test, from logits (N, C) and encoded targets (N, ...).

        `bins`: of the calibration error.
        """

    @abstractmethod
    def sufficient_statistics(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(N, K): what each row adds to the sums from which the primary metric is computed."""

    @abstractmethod
    def primary_metric_from(self, sums: np.ndarray) -> np.ndarray:
        """The primary metric (R,) from sums (R, K) of `sufficient_statistics` over rows."""

    def score(self, logits: np.ndarray, target: np.ndarray) -> float:
        """The primary metric of one model, from logits (N, C) and encoded targets (N, ...)."""
        sums = self.sufficient_statistics(logits, target).sum(0, keepdims=True)
        return float(self.primary_metric_from(sums)[0])

    @abstractmethod
    def agreement(self, first: np.ndarray, second: np.ndarray) -> float:
        """How alike two models predict, from their logits (N, C); at most 1."""

    @abstractmethod
    def picture(self, logits: np.ndarray, target: np.ndarray, labels: list[str]) -> Picture:
        """The picture of one model's predictions on test; `decant.evaluation.plots` draws it."""


class Task:
    """One kind of target, as conf/task/<name>.yaml chooses it."""

    def __init__(self, target: Target, objective: Objective, scoring: Scoring) -> None:
        self.target, self.objective, self.scoring = target, objective, scoring
