"""Soft labels: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531.

L = (1 - w) T² KL(softmax(teacher / T) || softmax(student / T)) + w CE(student, target)

for classes; the task says what takes the place of KL and CE for other targets. With `standardise`, the logits of each
row are first brought to mean 0 and deviation 1, so that the student need not copy their size (Sun et al., "Logit
Standardization in Knowledge Distillation", CVPR 2024, arXiv:2403.01427).
"""

import torch

from decant.core.errors import require
from decant.loss import Loss, Output, Weight, at, check, check_weights
from decant.task import Objective

FLAT = 1e-3
"""Deviation of logits below which a row is not stretched to 1."""


class KD(Loss):
    """Soft and hard labels."""

    def __init__(self, temperature: float, hard_weight: Weight, standardise: bool) -> None:
        super().__init__()
        self.temperature, self.hard_weight, self.standardise = temperature, hard_weight, standardise
        self.single_label = standardise
        check_weights(hard_weight=hard_weight)
        ends = at(hard_weight, 0.0), at(hard_weight, 1.0)
        require(
            self,
            temperature=(0 < temperature < float("inf"), "a finite number above 0"),
            hard_weight=(max(ends) <= 1 and min(ends) < 1, "in [0, 1); use loss none for 1"),
        )

    def weights(self, progress: float) -> dict[str, float]:
        """See `Loss.weights`."""
        hard = at(self.hard_weight, progress)
        return {"soft": 1 - hard, "hard": hard}

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        check(student.logits, teacher.logits)
        both = [standardised(o.logits) if self.standardise else o.logits for o in (student, teacher)]
        return {"soft": objective.divergence(both[0], both[1], self.temperature)}


def standardised(logits: torch.Tensor) -> torch.Tensor:
    """Each row (B, C) with mean 0 and standard deviation 1; less, where it was below `FLAT`."""
    logits = logits.float()
    deviation = logits.std(1, keepdim=True, correction=0)
    # a flat row stays flat: over a deviation of 0, the gradient of a new head would be millions
    return (logits - logits.mean(1, keepdim=True)) / deviation.clamp(min=FLAT)
