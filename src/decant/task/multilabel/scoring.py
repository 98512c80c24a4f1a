"""F1 and calibration of labels."""

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from torchmetrics.functional.classification import binary_calibration_error

from decant.task import Facts, LabelScores, Scoring
from decant.task.multilabel.objective import threshold_logit


class MultiLabelScoring(Scoring):
    """Micro F1 of the labels above `threshold` heads the report."""

    primary_metric = "micro_f1"
    metric_titles = {"micro_f1": "micro F1 %", "macro_f1": "macro F1 %", "calibration_error": "calibration error %"}
    agreement_sentence = "gives the same labels to {} % of test"

    def __init__(self, threshold: float) -> None:
        self.threshold_logit = threshold_logit(threshold)

    def linear_estimator(self, strength: float) -> Any:
        """Logistic regression for each label, with balanced class weights: else a rare label is hardly ever predicted.

        The dual is ten times as fast on words, and there may be many labels; the tolerance is still a tenth of
        LIBLINEAR's default.
        """
        options = {"solver": "liblinear", "dual": True, "tol": 0.01, "max_iter": 1000, "random_state": 0}
        return OneVsRestClassifier(LogisticRegression(C=strength, class_weight="balanced", **options))

    def linear_logits(self, estimator: Any, inputs: Any) -> np.ndarray:
        """Log-odds as if each label were on half of the rows: right for a decision, too high for a probability."""
        values = estimator.decision_function(inputs).astype(np.float32)
        return values.reshape(len(values), -1)  # for a single label it is flat

    def metrics(self, logits: np.ndarray, target: np.ndarray, labels: list[str], bins: int) -> Facts:
        """Micro, macro and per-class precision, recall and F1, subset accuracy, calibration error, all in [0, 1].

        Subset accuracy: share of rows with all labels right.
        """
        counts = self.confusion_counts(logits, target)
        per_class = precision_recall_f1(counts.sum(0))
        return {
            **{f"micro_{name}": float(value) for name, value in precision_recall_f1(counts.sum((0, 1))).items()},
            **{f"macro_{name}": float(values.mean()) for name, values in per_class.items()},
            "subset_accuracy": float(((logits > self.threshold_logit) == target).all(1).mean()),
            "calibration_error": calibration_error(logits, target, bins),
            "per_class": {
                label: {name: float(values[i]) for name, values in per_class.items()} for i, label in enumerate(labels)
            },
        }

    def sufficient_statistics(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(N, 3): true positives, false positives, false negatives."""
        return self.confusion_counts(logits, target).sum(1)

    def primary_metric_from(self, sums: np.ndarray) -> np.ndarray:
        """Micro F1."""
        return precision_recall_f1(sums)["f1"]

    def agreement(self, first: np.ndarray, second: np.ndarray) -> float:
        """Share of rows with the same set of predicted labels."""
        return float(((first > self.threshold_logit) == (second > self.threshold_logit)).all(1).mean())

    def picture(self, logits: np.ndarray, target: np.ndarray, labels: list[str]) -> LabelScores:
        """F1 of each label."""
        f1 = precision_recall_f1(self.confusion_counts(logits, target).sum(0))["f1"]
        return LabelScores("F1", f1, target.sum(0, dtype=int), labels)

    def confusion_counts(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(N, C, 3): true positive, false positive, false negative."""
        predicted, actual = logits > self.threshold_logit, target == 1
        return np.stack([predicted & actual, predicted & ~actual, ~predicted & actual], axis=2).astype(int)


def precision_recall_f1(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 (...) from true positives, false positives, false negatives (..., 3); 0 for 0 / 0."""
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    ratios = {"precision": (tp, tp + fp), "recall": (tp, tp + fn), "f1": (2 * tp, 2 * tp + fp + fn)}
    return {name: numerator / np.maximum(denominator, 1e-12) for name, (numerator, denominator) in ratios.items()}


def calibration_error(logits: np.ndarray, target: np.ndarray, bins: int) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599) of the probability of each label of each row."""
    probabilities = torch.from_numpy(logits).double().sigmoid().flatten()
    return float(binary_calibration_error(probabilities, torch.from_numpy(target).flatten().int(), bins))
