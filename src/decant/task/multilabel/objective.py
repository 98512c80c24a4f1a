"""A sigmoid for each label and binary cross-entropy."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelF1Score
from transformers import PreTrainedModel

from decant.models.directory import Head
from decant.task import Objective


def threshold_logit(threshold: float) -> float:
    """The logit of a probability in (0, 1)."""
    return math.log(threshold / (1 - threshold))


class F1(MultilabelF1Score):
    """F1 of logits (B, C): torchmetrics would take logits that all lie in [0, 1] for probabilities."""

    def __init__(self, labels: int, average: Literal["micro", "macro"], threshold_logit: float) -> None:
        super().__init__(labels, average=average)
        self.threshold_logit = threshold_logit

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch of logits (B, C) and targets (B, C)."""
        super().update((preds > self.threshold_logit).int(), target)


class MultiLabelObjective(Objective):
    """Binary cross-entropy; epochs are chosen by micro F1 of the labels above `threshold`."""

    problem_type = "multi_label_classification"
    monitor = "micro_f1"

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def build_network(self, folder: Path, labels: list[str], auto: object, head: Head) -> PreTrainedModel:
        """See `Objective.build_network`; servers read the threshold as `decision_threshold` in config.json."""
        network = super().build_network(folder, labels, auto, head)
        network.config.decision_threshold = self.threshold
        return network

    def init_head_bias(self, network: PreTrainedModel, target: np.ndarray, soft: np.ndarray | None) -> None:
        """The teacher's mean logit, or the log-odds of each label (Lin et al. 2017, arXiv:1708.02002, 4.1).

        A bias of 0 predicts half of all labels: the first steps all pull the same way, and can leave nothing else.
        """
        *_, bias = network.parameters()
        known = target[(target >= 0).all(1)]
        share = (known.sum(0) + 1) / (len(known) + 2)
        if bias.shape == share.shape:
            bias.data.copy_(torch.from_numpy(np.log(share / (1 - share)) if soft is None else soft.mean(0)))

    def loss(self, logits: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        """Binary cross-entropy, averaged over all B rows (also the ones without labels) and C labels.

        Smoothing moves half of its amount to each of 0 and 1.
        """
        goal = target.clamp(min=0).float() * (1 - label_smoothing) + label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits.float(), goal, reduction="none")
        return (losses * (target >= 0)).sum() / target.numel()

    def divergence(self, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """T² KL(teacher / T || student / T) between Bernoulli distributions, averaged over rows and labels.

        The average over labels, not their sum, gives it the magnitude of `loss`.
        """
        s, t = student.float() / temperature, teacher.float() / temperature
        positive = t.sigmoid() * (F.logsigmoid(t) - F.logsigmoid(s))
        negative = (-t).sigmoid() * (F.logsigmoid(-t) - F.logsigmoid(-s))
        return temperature**2 * (positive + negative).mean()

    def validation_metrics(self, classes: int) -> MetricCollection:
        """Micro and macro F1."""
        logit = threshold_logit(self.threshold)
        return MetricCollection({"micro_f1": F1(classes, "micro", logit), "macro_f1": F1(classes, "macro", logit)})

    def standard_error(self, score: float, rows: int) -> float:
        """Of a proportion of the rows: a rough bound, since F1 is none and rows with several labels make it smaller."""
        return math.sqrt(score * (1 - score) / rows)

    def ensemble(self, logits: np.ndarray) -> np.ndarray:
        """Log-odds of the mean probability (Lakshminarayanan et al. 2017, arXiv:1612.01474)."""
        members = torch.from_numpy(logits).double()
        odds = F.logsigmoid(members).logsumexp(0) - F.logsigmoid(-members).logsumexp(0)
        return odds.float().numpy()
