"""Relations between rows: Park et al., "Relational Knowledge Distillation", CVPR 2019, arXiv:1904.05068.

L = a Huber(distances) + b Huber(angles) + w CE(student, target)

over the pairs and triples of rows in a batch: distances relative to their mean, and the cosine of the angle at each row
between any two others, of the last states averaged over tokens or space.
"""

import torch
import torch.nn.functional as F

from decant.loss import Loss, Output, Weight, check, check_weights
from decant.loss.states import pooled
from decant.task import Objective

SAME = 1e-4
"""Distance, relative to the (root mean square) distance of a batch, below which two rows are the same."""


class Relation(Loss):
    """Distances and angles; student and teacher may differ in width, tokens and resolution."""

    needs = ("logits", "hidden")

    def __init__(self, distance: Weight, angle: Weight, hard_weight: Weight) -> None:
        super().__init__()
        self.scales = {"distance": distance, "angle": angle, "hard": hard_weight}
        check_weights(distance=distance, angle=angle, hard_weight=hard_weight)

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        first, second = (pooled(o.hidden[-1], o.mask) for o in (student, teacher))
        check(first[:, :1], second[:, :1])  # widths may differ
        check(second, second)
        distances, angles = zip(relations(first), relations(second), strict=True)
        return {"distance": F.smooth_l1_loss(*distances), "angle": F.smooth_l1_loss(*angles)}


def relations(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of rows (B, H): distances (B, B) relative to their mean, and cosines (B, B, B).

    The cosines are those of the angle at each row, between the directions to any two others. Rows that are the same
    have distance 0, no say in the mean, no direction, and no gradient.
    """
    towards = rows[None] - rows[:, None]
    square = towards.square().sum(2)
    apart = square > SAME**2 * square.mean()
    length = torch.where(apart, square, 1.0).sqrt()  # the root has no gradient at 0
    mean = (length * apart).sum() / apart.sum().clamp(min=1)
    towards = towards * (apart / length)[:, :, None]
    with torch.autocast(rows.device.type, enabled=False):  # its bfloat16 has three digits
        return length * apart / torch.where(mean > 0, mean, 1.0), towards @ towards.transpose(1, 2)
