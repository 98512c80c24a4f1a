"""Squared distance of logits: Ba & Caruana, "Do Deep Nets Really Need to be Deep?", NeurIPS 2014, arXiv:1312.6184.

L = a mean((student - teacher)²) + w CE(student, target)

over rows and classes. KD approaches this as its temperature grows, apart from the mean of each row.
"""

import torch
import torch.nn.functional as F

from decant.loss import Loss, Output, Weight
from decant.loss.checks import check_comparable, check_weights
from decant.task import Objective


class MSE(Loss):
    """Compares logits as numbers, in units of `Objective.logit_scale`."""

    def __init__(self, weight: Weight, hard_weight: Weight) -> None:
        super().__init__()
        self.term_weights = {"mse": weight, "hard": hard_weight}
        check_weights(weight=weight, hard_weight=hard_weight)

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        check_comparable(student.logits, teacher.logits)
        scale = objective.logit_scale
        return {"mse": F.mse_loss(student.logits.float() / scale, teacher.logits.float() / scale)}
