"""Correlations: Huang et al., "Knowledge Distillation from a Stronger Teacher" (DIST), NeurIPS 2022, arXiv:2205.10536.

L = w CE(student, target) + beta T² (1 - rows) + gamma T² (1 - columns)

where rows is the mean Pearson correlation of the probabilities of student and teacher over the classes of a row, and
columns that over the rows of a class in the batch. Where all of the teacher's probabilities are equal, they have no
correlation and are left out. A student can follow the teacher without reaching its probabilities.
"""

import torch
import torch.nn.functional as F

from decant.core.errors import require
from decant.loss import Loss, Output, Weight
from decant.loss.checks import check_comparable, check_weights
from decant.task import Objective

MIN_DEVIATION = 1e-3
"""Standard deviation of probabilities, relative to their mean, below which they count as equal."""


class DIST(Loss):
    """Correlation within rows, and within classes over the rows of a batch (on several devices, of each one's part)."""

    single_label = True

    def __init__(self, temperature: float, beta: Weight, gamma: Weight, hard_weight: Weight) -> None:
        super().__init__()
        self.temperature = temperature
        self.term_weights = {"inter_class": beta, "intra_class": gamma, "hard": hard_weight}
        require(self, temperature=(0 < temperature < float("inf"), "a finite number above 0"))
        check_weights(beta=beta, gamma=gamma, hard_weight=hard_weight)

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        check_comparable(student.logits, teacher.logits)
        p, q = (F.softmax(o.logits.float() / self.temperature, dim=1) for o in (student, teacher))
        return {
            "inter_class": self.temperature**2 * decorrelation(p, q),
            "intra_class": self.temperature**2 * decorrelation(p.T, q.T),
        }


def decorrelation(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1 - Pearson correlation of probabilities (N, K) and (N, K); the mean over rows in which the teacher's vary."""
    (first, _), (second, varies) = direction(student), direction(teacher)
    return ((1 - (first * second).sum(1)) * varies).sum() / varies.sum().clamp(min=1)


def direction(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (N, K) of values of 0 or more, centred and scaled to length 1; and (N,): whether a row varies.

    A row that does not vary stays shorter: scaled to length 1, its gradient would be unbounded.
    """
    relative = values / values.detach().mean(1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    centred = relative - relative.mean(1, keepdim=True)
    length, min_length = centred.norm(dim=1, keepdim=True), MIN_DEVIATION * values.shape[1] ** 0.5
    return centred / length.clamp(min=min_length), length[:, 0] > min_length
