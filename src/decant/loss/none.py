"""No distillation: the student learns from hard labels alone; the control of every distillation."""

import torch

from decant.loss import Loss, Output
from decant.task import Objective


class NoDistillation(Loss):
    """Uses no teacher."""

    needs = ()
    term_weights = {"hard": 1.0}

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """No terms; the distiller adds the supervised loss."""
        return {}
