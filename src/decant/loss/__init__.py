"""A distillation loss: how a student learns from a teacher. The supervised loss belongs to the task."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from decant.task import Task


class Loss(nn.Module, ABC):
    """Terms that compare student and teacher; the distiller adds `hard`, the task's supervised loss."""

    needs: tuple[str, ...] = ("logits",)
    """What of the teacher is used: () or ("logits",). With () rows without a label are left out."""
    weights: dict[str, float]
    """The weight of each term, `hard` included."""

    @abstractmethod
    def forward(self, student: torch.Tensor, teacher: torch.Tensor, task: Task) -> dict[str, torch.Tensor]:
        """The raw terms, scalars, of logits (B, C) and (B, C); `task` says what a soft target is.

        Each is an average over the B rows, so that devices which share a batch agree with one that has
        it whole.
        """
