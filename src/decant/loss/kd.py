"""Soft labels: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531.

L = (1 - w) T² KL(softmax(teacher / T) || softmax(student / T)) + w CE(student, target)

for classes; the task says what takes the place of KL and CE for other targets.
"""

import torch

from decant import require
from decant.loss import Loss
from decant.task import Task


class KD(Loss):
    """Soft and hard labels."""

    def __init__(self, temperature: float, hard_weight: float) -> None:
        super().__init__()
        self.temperature, self.hard_weight = temperature, hard_weight
        require(
            self,
            temperature=(0 < temperature < float("inf"), "a finite number above 0"),
            hard_weight=(0 <= hard_weight < 1, "a number in [0, 1); use loss none for 1"),
        )
        self.weights = {"soft": 1 - hard_weight, "hard": hard_weight}

    def forward(self, student: torch.Tensor, teacher: torch.Tensor, task: Task) -> dict[str, torch.Tensor]:
        """See `Loss.forward`.

        Raises:
            ValueError: shapes that differ (broadcasting would train nonsense) or a teacher that is not finite.
        """
        if student.shape != teacher.shape or student.dim() != 2:
            raise ValueError(f"expected equal shapes (B, C), found {tuple(student.shape)} and {tuple(teacher.shape)}")
        if not torch.isfinite(teacher).all():
            raise ValueError("the teacher's logits are not finite; fine-tune it again with a lower lr")
        return {"soft": task.divergence(student, teacher, self.temperature)}
