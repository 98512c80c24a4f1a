"""Soft labels: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531.

L = (1 - w) T² KL(softmax(teacher / T) || softmax(student / T)) + w CE(student, target)

for classes; for other targets the task's objective replaces KL and CE. With `standardise`, the logits of each row are
first brought to mean 0 and standard deviation 1, so that the student need not match their scale (Sun et al., "Logit
Standardization in Knowledge Distillation", CVPR 2024, arXiv:2403.01427).
"""

import torch

from decant.core.errors import require
from decant.loss import Loss, Output, Weight, weight_at
from decant.loss.checks import check_comparable, check_weights
from decant.task import Objective

MIN_DEVIATION = 1e-3
"""Standard deviation of logits below which a row is not scaled up to 1."""


class KD(Loss):
    """Soft and hard labels."""

    def __init__(self, temperature: float, hard_weight: Weight, standardise: bool) -> None:
        super().__init__()
        self.temperature, self.hard_weight, self.standardise = temperature, hard_weight, standardise
        self.single_label = standardise
        check_weights(hard_weight=hard_weight)
        start, end = weight_at(hard_weight, 0.0), weight_at(hard_weight, 1.0)
        require(
            self,
            temperature=(0 < temperature < float("inf"), "a finite number above 0"),
            hard_weight=(max(start, end) <= 1 and min(start, end) < 1, "in [0, 1); use loss none for 1"),
        )

    def weights(self, progress: float) -> dict[str, float]:
        """See `Loss.weights`."""
        hard = weight_at(self.hard_weight, progress)
        return {"soft": 1 - hard, "hard": hard}

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        check_comparable(student.logits, teacher.logits)
        first, second = (standardised(o.logits) if self.standardise else o.logits for o in (student, teacher))
        return {"soft": objective.divergence(first, second, self.temperature)}


def standardised(logits: torch.Tensor) -> torch.Tensor:
    """Each row (B, C) with mean 0 and standard deviation 1; a smaller one, if it was below `MIN_DEVIATION`."""
    logits = logits.float()
    deviation = logits.std(1, keepdim=True, correction=0)
    # divided by a deviation of 0, the logits of a new head would have gradients in the millions
    return (logits - logits.mean(1, keepdim=True)) / deviation.clamp(min=MIN_DEVIATION)
