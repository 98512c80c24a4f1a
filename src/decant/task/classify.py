"""One label of several: softmax head, cross-entropy, accuracy and macro F1. A soft target is a distribution."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.functional.classification import multiclass_calibration_error
from transformers import PreTrainedModel

from decant.adapt import Adapt
from decant.core.errors import UserError
from decant.models import directory
from decant.task import Tables, Task

FIGURES = ("precision", "recall", "f1")


class Classify(Task):
    """Single-label classification; a target is the index of a class, -1 for none."""

    monitor = "accuracy"
    single_label = True
    columns = {"accuracy": "accuracy %", "macro_f1": "macro F1 %", "calibration_error": "calibration error %"}

    def read(self, target: "pd.Series[Any]") -> "pd.Series[Any]":
        """Names of classes; a blank one is none.

        Raises:
            UserError: lists of them.
        """
        if lists := [cell for cell in target if isinstance(cell, list)]:
            raise UserError(
                f"{len(lists)} targets are lists of labels (first: {lists[0]}), expected one label each; choose "
                "use.task multilabel, or another column"
            )
        null = target.isna() | (target.astype(str).str.strip() == "")
        return target.where(~null).astype("string")

    def problems(self, tables: Tables) -> list[str]:
        """One class alone, or classes that train lacks."""
        classes = set(tables["train"]["target"])
        if len(classes) < 2:
            return [f"train has the single class {min(classes)!r}; expected at least two"]
        return [
            f"{split} has classes that train lacks: {', '.join(map(repr, sorted(new)))}; no model can learn them: "
            "add rows to train or remove them"
            for split in ("validation", "test")
            if split in tables and (new := set(tables[split]["target"]) - classes)
        ]

    def rare(self, train: pd.DataFrame) -> list[str]:
        """Classes with a single row."""
        counts = train["target"].value_counts()
        if not (rare := sorted(counts[counts < 2].index)):
            return []
        names = ", ".join(map(repr, rare[:10])) + (", ..." if len(rare) > 10 else "")
        return [
            f"train has one row of {names}; expected two or more of each class, one to learn from and one to validate "
            "on: add rows or remove the class"
        ]

    def strata(self, target: "pd.Series[Any]") -> "pd.Series[Any] | None":
        """The classes."""
        return target

    def labels(self, target: "pd.Series[Any]") -> list[str]:
        """Sorted names of the classes."""
        return sorted(target.unique())

    def encode(self, target: "pd.Series[Any]", labels: list[str]) -> list[Any]:
        """Indices into `labels`; -1: no label."""
        index = {label: i for i, label in enumerate(labels)}
        return [index.get(t, -1) for t in target]

    def describe(self, read: "pd.Series[Any]", target: "pd.Series[Any]", labels: list[str]) -> dict[str, Any]:
        """Rows of each class."""
        return {"classes": {label: int((target == i).sum()) for i, label in enumerate(labels)}}

    def model(self, folder: Path, labels: list[str], auto: Any, adapt: Adapt) -> PreTrainedModel:
        """See `Task.model`."""
        names = dict(enumerate(labels))
        head = {"id2label": names, "label2id": {v: k for k, v in names.items()}, "num_labels": len(names)}
        # said outright: the backbone's config may come with another
        return directory.with_head(auto, folder, adapt, **head, problem_type="single_label_classification")

    def loss(self, logits: torch.Tensor, target: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Cross-entropy, averaged over all B rows (also the ones without a label)."""
        total = F.cross_entropy(logits, target, ignore_index=-1, reduction="sum", label_smoothing=smoothing)
        return total / len(target)

    def divergence(self, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """T² KL(softmax(teacher / T) || softmax(student / T)), averaged over rows."""
        log_p = F.log_softmax(student.float() / temperature, dim=1)
        log_q = F.log_softmax(teacher.float() / temperature, dim=1)
        return temperature**2 * F.kl_div(log_p, log_q, log_target=True, reduction="batchmean")

    def metrics(self, classes: int) -> MetricCollection:
        """See `Task.metrics`."""
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "macro_f1": MulticlassF1Score(classes, average="macro"),
            }
        )

    def standard_error(self, score: float, rows: int) -> float:
        """Of a share."""
        return math.sqrt(score * (1 - score) / rows)

    def ensemble(self, logits: np.ndarray) -> np.ndarray:
        """Logarithm of the mean probability (Lakshminarayanan et al. 2017, arXiv:1612.01474).

        Logits themselves are comparable between models only up to a constant for each row; and in a mean of
        logarithms, one model that is sure of a mistake outvotes all others.
        """
        each = torch.from_numpy(logits).log_softmax(2)
        return (each.logsumexp(0) - math.log(len(logits))).numpy()

    def linear(self, strength: float) -> Any:
        """Logistic regression."""
        return LogisticRegression(C=strength, max_iter=1000)

    def linear_logits(self, estimator: Any, inputs: Any) -> np.ndarray:
        """Of the same probabilities; their logarithm would be endless where one is 0."""
        found = estimator.decision_function(inputs).astype(np.float32)
        return found if found.ndim == 2 else np.stack([np.zeros_like(found), found], axis=1)

    def scores(self, logits: np.ndarray, target: np.ndarray, labels: list[str], bins: int) -> dict[str, Any]:
        """Accuracy, macro and per-class precision, recall and F1, and calibration error, all in [0, 1].

        The calibration error is the expected one (Guo et al. 2017, arXiv:1706.04599), over `bins` bins of
        confidence.
        """
        predicted = logits.argmax(1)
        classes = list(range(len(labels)))
        each = precision_recall_fscore_support(target, predicted, labels=classes, zero_division=0)
        macro = precision_recall_fscore_support(target, predicted, labels=classes, average="macro", zero_division=0)
        probabilities = torch.from_numpy(logits).double().softmax(1)
        error = multiclass_calibration_error(probabilities, torch.tensor(target), len(labels), n_bins=bins)
        return {
            "accuracy": float(accuracy_score(target, predicted)),
            **{f"macro_{n}": float(v) for n, v in zip(FIGURES, macro[:3], strict=True)},
            "calibration_error": float(error),
            "per_class": {
                label: {n: float(each[j][i]) for j, n in enumerate(FIGURES)} for i, label in enumerate(labels)
            },
        }

    def sums(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Right or wrong, and one."""
        right = logits.argmax(1) == target
        return np.stack([right, np.ones(len(right))], axis=1)

    def headline(self, sums: np.ndarray) -> np.ndarray:
        """Accuracy."""
        return sums[:, 0] / sums[:, 1]

    def agreement(self, first: np.ndarray, second: np.ndarray) -> float:
        """Share of rows with the same class."""
        return float((first.argmax(1) == second.argmax(1)).mean())

    def plots(self, logits: np.ndarray, target: np.ndarray, labels: list[str], folder: Path) -> None:
        """The confusion."""
        from decant.evaluation import plots  # matplotlib takes a second to import

        plots.confusion(logits.argmax(1), target, labels, folder)
