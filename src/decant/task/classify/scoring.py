"""Accuracy, F1 and calibration of classes."""

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from torchmetrics.functional.classification import multiclass_calibration_error

from decant.task import Confusion, Facts, Scoring

NAMES = ("precision", "recall", "f1")
"""Of what `precision_recall_fscore_support` returns, in its order."""


class ClassifyScoring(Scoring):
    """Accuracy heads the report."""

    primary_metric = "accuracy"
    metric_titles = {"accuracy": "accuracy %", "macro_f1": "macro F1 %", "calibration_error": "calibration error %"}

    def linear_estimator(self, strength: float) -> Any:
        """Logistic regression."""
        return LogisticRegression(C=strength, max_iter=1000)

    def linear_logits(self, estimator: Any, inputs: Any) -> np.ndarray:
        """Decision values: their softmax is `predict_proba`, whose logarithm would be infinite at 0."""
        values = estimator.decision_function(inputs).astype(np.float32)
        return values if values.ndim == 2 else np.stack([np.zeros_like(values), values], axis=1)

    def metrics(self, logits: np.ndarray, target: np.ndarray, labels: list[str], bins: int) -> Facts:
        """Accuracy, macro and per-class precision, recall and F1, and calibration error, all in [0, 1]."""
        predicted = logits.argmax(1)
        options = {"labels": list(range(len(labels))), "zero_division": 0}
        macro = precision_recall_fscore_support(target, predicted, average="macro", **options)
        per_class = precision_recall_fscore_support(target, predicted, **options)
        return {
            "accuracy": float(accuracy_score(target, predicted)),
            **{f"macro_{name}": float(value) for name, value in zip(NAMES, macro[:3], strict=True)},
            "calibration_error": calibration_error(logits, target, bins),
            "per_class": {
                label: {name: float(per_class[j][i]) for j, name in enumerate(NAMES)} for i, label in enumerate(labels)
            },
        }

    def sufficient_statistics(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(N, 2): 1 for a correct prediction, else 0; and 1."""
        correct = logits.argmax(1) == target
        return np.stack([correct, np.ones(len(correct))], axis=1)

    def primary_metric_from(self, sums: np.ndarray) -> np.ndarray:
        """Accuracy."""
        return sums[:, 0] / sums[:, 1]

    def agreement(self, first: np.ndarray, second: np.ndarray) -> float:
        """Share of rows with the same predicted class."""
        return float((first.argmax(1) == second.argmax(1)).mean())

    def picture(self, logits: np.ndarray, target: np.ndarray, labels: list[str]) -> Confusion:
        """The confusion matrix."""
        return Confusion(logits.argmax(1), target, labels)


def calibration_error(logits: np.ndarray, target: np.ndarray, bins: int) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599) over `bins` bins of confidence."""
    probabilities = torch.from_numpy(logits).double().softmax(1)
    return float(multiclass_calibration_error(probabilities, torch.tensor(target), logits.shape[1], n_bins=bins))
