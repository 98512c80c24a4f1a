"""A distillation loss: how a student learns from a teacher. The supervised loss belongs to the task."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from decant.core.errors import UserError
from decant.task import Objective

Weight = float | Sequence[float]
"""Of a term: a number, or [start, end], between which it moves in a straight line over training."""


@dataclass
class Output:
    """What a network gave for a batch."""

    logits: torch.Tensor
    """(B, C)."""
    hidden: tuple[torch.Tensor, ...] = ()
    """States after the embedding and after each layer: (B, T, H), or maps (B, H, Y, X) of an image."""
    attention: tuple[torch.Tensor, ...] = ()
    """Probabilities (B, heads, T, T) of each layer."""
    mask: torch.Tensor | None = None
    """(B, T): 1 for tokens, 0 for padding; none: nothing is padding."""

    def detached(self) -> "Output":
        """The same, through which no gradient flows."""
        hidden, attention = (tuple(x.detach() for x in xs) for xs in (self.hidden, self.attention))
        return Output(self.logits.detach(), hidden, attention, self.mask)


class Loss(nn.Module, ABC):
    """Terms that compare student and teacher; the distiller adds `hard`, the task's supervised loss."""

    needs: tuple[str, ...] = ("logits",)
    """What of the teacher is used: of `logits`, `hidden`, `attention`. Without any, rows without a label are left out;
    with more than logits, the teacher runs beside the student."""
    single_label: bool = False
    """Whether it is for `Objective.single_label` tasks alone."""

    scales: dict[str, Weight]
    """The weight of each term, `hard` included."""

    def weights(self, progress: float) -> dict[str, float]:
        """`scales` at a share of the training in [0, 1]."""
        return {term: at(weight, progress) for term, weight in self.scales.items()}

    def bind(self, student: Output, teacher: Output, aligned: bool) -> None:
        """Make what depends on the two networks, from their outputs on a few rows; once, before training.

        `aligned`: whether both read the same tokens, so that their states can be compared one by one.

        Raises:
            UserError: a network lacks what is compared.
        """

    @abstractmethod
    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """The raw terms, scalars. `target` (B, ...) is encoded; `objective` says what a soft target is.

        Each is an average over rows or over pairs of them; none has a gradient for the teacher.

        Raises:
            ValueError: shapes that differ (broadcasting would train nonsense) or a teacher that is not finite.
        """


def at(weight: Weight, progress: float) -> float:
    """`weight` at a share of the training in [0, 1]."""
    if isinstance(weight, Sequence):
        start, end = weight
        return start + (end - start) * min(max(progress, 0.0), 1.0)
    return weight


def check_weights(**weights: Weight) -> None:
    """Refuse what is no weight, a number of 0 or more or two of them; and terms of the teacher that are all 0.

    Raises:
        UserError: with every bad one.
    """
    bad = []
    for name, weight in weights.items():
        several = isinstance(weight, Sequence) and not isinstance(weight, str)
        values = list(weight) if several else [weight]  # type: ignore[arg-type]
        good = all(isinstance(v, int | float) and 0 <= v < math.inf for v in values)
        if not good or len(values) != (2 if several else 1):
            bad.append(f"{name} is {weight!r}, expected a number of 0 or more, or [start, end]")
    own = {name: weight for name, weight in weights.items() if name != "hard_weight"}
    if own and not bad and not any(at(weight, end) for weight in own.values() for end in (0.0, 1.0)):
        found = ", ".join(f"{name} is {weight!r}" for name, weight in own.items())
        bad.append(f"{found}, so the teacher has no say; expected more, or use loss none")
    if bad:
        raise UserError(bad)


def check(student: torch.Tensor, teacher: torch.Tensor, axes: str = "(B, C)") -> None:
    """Refuse tensors that cannot be compared; `axes` names those that both have.

    Raises:
        ValueError: see `Loss.forward`.
    """
    if student.shape != teacher.shape or student.dim() != axes.count(",") + 1:
        raise ValueError(f"expected equal shapes {axes}, found {tuple(student.shape)} and {tuple(teacher.shape)}")
    if not torch.isfinite(teacher).all():
        raise ValueError("what the teacher says is not finite; fine-tune it again with a lower lr")


def check_layers(layers: Sequence[Sequence[int]] | None) -> None:
    """Refuse what is no list of pairs of layers; none: they are chosen by `uniform`.

    Raises:
        UserError: see above.
    """
    if layers is None:
        return
    pairs = isinstance(layers, Sequence) and all(isinstance(pair, Sequence) and len(pair) == 2 for pair in layers)
    if not pairs or not layers or not all(isinstance(n, int) for pair in layers for n in pair):
        raise UserError(f"layers is {layers!r}, expected pairs [[student's, teacher's], ...], or null")


def uniform(student: int, teacher: int) -> list[tuple[int, int]]:
    """A layer of the teacher for each of the student's: at the same share of the depth (Jiao et al. 2020)."""
    return [(i, max(1, round((i + 1) * teacher / student)) - 1) for i in range(student)]
