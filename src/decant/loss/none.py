"""The student alone, on hard labels: the control that every distillation stands beside."""

import torch

from decant.loss import Loss, Output
from decant.task import Objective


class NoDistillation(Loss):
    """No teacher."""

    needs = ()
    scales = {"hard": 1.0}

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """No term but the hard one."""
        return {}
