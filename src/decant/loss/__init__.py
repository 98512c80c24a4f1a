"""A distillation loss: how a student learns from a teacher. The supervised loss belongs to the task's objective."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from decant.task import Objective

Weight = float | Sequence[float]
"""The weight of a term: a number, or [start, end], from which and to which it changes linearly during training."""


@dataclass
class Output:
    """The output of a network for a batch."""

    logits: torch.Tensor
    """(B, C)."""
    hidden: tuple[torch.Tensor, ...] = ()
    """States after the embedding and after each layer: (B, T, H), or maps (B, H, Y, X) of an image."""
    attention: tuple[torch.Tensor, ...] = ()
    """Attention probabilities (B, heads, T, T) of each layer."""
    mask: torch.Tensor | None = None
    """(B, T): 1 for tokens, 0 for padding; None: there is no padding."""

    def detached(self) -> "Output":
        """The same tensors, through which no gradient flows."""
        hidden, attention = (tuple(x.detach() for x in xs) for xs in (self.hidden, self.attention))
        return Output(self.logits.detach(), hidden, attention, self.mask)


class Loss(nn.Module, ABC):
    """Terms that compare student and teacher; the distiller adds `hard`, the supervised loss."""

    needs: tuple[str, ...] = ("logits",)
    """Which outputs of the teacher are used: any of `logits`, `hidden`, `attention`. With none, rows without a label
    are left out; with more than logits, the teacher runs during the student's training."""
    single_label: bool = False
    """Whether it works only with tasks with `Objective.single_label`."""

    term_weights: dict[str, Weight]
    """The weight of each term, `hard` included."""

    def weights(self, progress: float) -> dict[str, float]:
        """`term_weights` at `progress` of the training in [0, 1]."""
        return {term: weight_at(weight, progress) for term, weight in self.term_weights.items()}

    def bind(self, student: Output, teacher: Output, aligned: bool) -> None:
        """Build what depends on the two networks, from their outputs on a few rows; called once, before training.

        `aligned`: whether both networks read the same tokens, so that their states can be compared token by token.

        Raises:
            UserError: a network lacks what is compared.
        """

    @abstractmethod
    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """The terms, scalars without their weights. `target` (B, ...) is encoded.

        Each is a mean over rows or over pairs of rows; none has a gradient with respect to the teacher.

        Raises:
            ValueError: shapes differ (broadcasting would train nonsense), or the teacher's output is not finite.
        """


def weight_at(weight: Weight, progress: float) -> float:
    """`weight` at `progress` of the training in [0, 1]."""
    if isinstance(weight, Sequence):
        start, end = weight
        return start + (end - start) * min(max(progress, 0.0), 1.0)
    return weight
