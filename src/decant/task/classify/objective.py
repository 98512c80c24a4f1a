"""Softmax head and cross-entropy."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from decant.task import Objective


class ClassifyObjective(Objective):
    """Cross-entropy; epochs are chosen by accuracy."""

    problem_type = "single_label_classification"
    monitor = "accuracy"
    single_label = True

    def loss(self, logits: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        """Cross-entropy, averaged over all B rows (also the ones without a label)."""
        total = F.cross_entropy(logits, target, ignore_index=-1, reduction="sum", label_smoothing=label_smoothing)
        return total / len(target)

    def divergence(self, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """T² KL(softmax(teacher / T) || softmax(student / T)), averaged over rows."""
        log_p = F.log_softmax(student.float() / temperature, dim=1)
        log_q = F.log_softmax(teacher.float() / temperature, dim=1)
        return temperature**2 * F.kl_div(log_p, log_q, log_target=True, reduction="batchmean")

    def validation_metrics(self, classes: int) -> MetricCollection:
        """Accuracy and macro F1."""
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "macro_f1": MulticlassF1Score(classes, average="macro"),
            }
        )

    def standard_error(self, score: float, rows: int) -> float:
        """Of a proportion."""
        return math.sqrt(score * (1 - score) / rows)

    def ensemble(self, logits: np.ndarray) -> np.ndarray:
        """Logarithm of the mean probability (Lakshminarayanan et al. 2017, arXiv:1612.01474).

        Logits of different models are comparable only up to a constant for each row; and in a mean of log-probabilities
        one model that is confidently wrong outvotes all others.
        """
        log_probabilities = torch.from_numpy(logits).log_softmax(2)
        return (log_probabilities.logsumexp(0) - math.log(len(logits))).numpy()
