"""Relations in place of values: Huang et al., "Knowledge Distillation from a Stronger Teacher" (DIST), NeurIPS 2022.

arXiv:2205.10536. L = w CE(student, target) + beta T² (1 - rows) + gamma T² (1 - columns)

where rows is the mean correlation (Pearson) of the probabilities of student and teacher over the classes of a row, and
columns that over the rows of a class in the batch; where the teacher's are all equal, there is nothing to follow. A
student can follow without reaching the teacher's probabilities.
"""

import torch
import torch.nn.functional as F

from decant.core.errors import require
from decant.loss import Loss, Output, Weight, check, check_weights
from decant.task import Objective

FLAT = 1e-3
"""Deviation of probabilities, relative to their mean, below which they count as equal: they have no correlation."""


class DIST(Loss):
    """Correlation within rows and within classes; the second is of the rows of a batch, of each device by itself."""

    single_label = True

    def __init__(self, temperature: float, beta: Weight, gamma: Weight, hard_weight: Weight) -> None:
        super().__init__()
        self.temperature = temperature
        self.scales = {"inter_class": beta, "intra_class": gamma, "hard": hard_weight}
        require(self, temperature=(0 < temperature < float("inf"), "a finite number above 0"))
        check_weights(beta=beta, gamma=gamma, hard_weight=hard_weight)

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        check(student.logits, teacher.logits)
        p, q = (F.softmax(o.logits.float() / self.temperature, dim=1) for o in (student, teacher))
        return {
            "inter_class": self.temperature**2 * uncorrelated(p, q),
            "intra_class": self.temperature**2 * uncorrelated(p.T, q.T),
        }


def uncorrelated(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1 - Pearson's correlation of probabilities (N, K) and (N, K), averaged over rows in which the teacher's vary."""
    (first, _), (second, varies) = direction(student), direction(teacher)
    return ((1 - (first * second).sum(1)) * varies).sum() / varies.sum().clamp(min=1)


def direction(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (N, K), all of 0 or more, centred and of length 1; and (N,): which of them vary.

    Those that do not are shorter: the gradient of a length of 1 would be without bounds there.
    """
    relative = values / values.detach().mean(1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    centred = relative - relative.mean(1, keepdim=True)
    length, least = centred.norm(dim=1, keepdim=True), FLAT * values.shape[1] ** 0.5
    return centred / length.clamp(min=least), length[:, 0] > least
