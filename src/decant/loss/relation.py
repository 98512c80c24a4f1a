"""Relations between rows: Park et al., "Relational Knowledge Distillation", CVPR 2019, arXiv:1904.05068.

L = a Huber(distances) + b Huber(angles) + w CE(student, target)

over the pairs and triples of rows in a batch: distances relative to their mean, and the cosine of the angle at each row
between any two others. A row is its last hidden state, averaged over tokens or space.
"""

import torch
import torch.nn.functional as F

from decant.loss import Loss, Output, Weight
from decant.loss.checks import check_comparable, check_weights
from decant.loss.states import pooled
from decant.task import Objective

MIN_DISTANCE = 1e-4
"""Distance, relative to the root mean square distance of a batch, below which two rows count as equal."""


class Relation(Loss):
    """Distances and angles; student and teacher may differ in width, tokens and resolution."""

    needs = ("logits", "hidden")

    def __init__(self, distance: Weight, angle: Weight, hard_weight: Weight) -> None:
        super().__init__()
        self.term_weights = {"distance": distance, "angle": angle, "hard": hard_weight}
        check_weights(distance=distance, angle=angle, hard_weight=hard_weight)

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        first, second = (pooled(o.hidden[-1], o.mask) for o in (student, teacher))
        check_comparable(first[:, :1], second[:, :1])  # the widths may differ
        check_comparable(second, second)
        distances, angles = zip(relations(first), relations(second), strict=True)
        return {"distance": F.smooth_l1_loss(*distances), "angle": F.smooth_l1_loss(*angles)}


def relations(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances (B, B) of rows (B, H) relative to their mean, and cosines (B, B, B).

    The cosines are those of the angle at each row between the directions to any two others. Two equal rows have
    distance 0, do not count in the mean, and have neither a direction nor a gradient.
    """
    differences = rows[None] - rows[:, None]
    squares = differences.square().sum(2)
    distinct = squares > MIN_DISTANCE**2 * squares.mean()
    lengths = torch.where(distinct, squares, 1.0).sqrt()  # the square root has no gradient at 0
    mean = (lengths * distinct).sum() / distinct.sum().clamp(min=1)
    directions = differences * (distinct / lengths)[:, :, None]
    with torch.autocast(rows.device.type, enabled=False):  # bfloat16 has only three digits
        return lengths * distinct / torch.where(mean > 0, mean, 1.0), directions @ directions.transpose(1, 2)
