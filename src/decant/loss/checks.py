"""Checks that distillation losses share: weights and layers from the yaml, tensors from the networks."""

import math
from collections.abc import Sequence

import torch

from decant.core.errors import UserError
from decant.loss import Weight, weight_at


def check_weights(**weights: Weight) -> None:
    """Refuse weights that are not a number of 0 or more, or two of them; and a teacher whose terms all have weight 0.

    Raises:
        UserError: names every bad weight.
    """
    problems = [
        f"{name} is {weight!r}, expected a number of 0 or more, or [start, end]"
        for name, weight in weights.items()
        if not _is_weight(weight)
    ]
    teacher_weights = {name: weight for name, weight in weights.items() if name != "hard_weight"}
    if teacher_weights and not problems:
        values = [weight_at(weight, progress) for weight in teacher_weights.values() for progress in (0.0, 1.0)]
        if not any(values):
            listed = ", ".join(f"{name} is {weight!r}" for name, weight in teacher_weights.items())
            problems.append(f"{listed}, so the teacher has no effect; expected more, or use loss none")
    if problems:
        raise UserError(problems)


def _is_weight(weight: object) -> bool:
    is_pair = isinstance(weight, Sequence) and not isinstance(weight, str)
    values = list(weight) if is_pair else [weight]  # type: ignore[call-overload]
    is_valid = all(isinstance(v, int | float) and 0 <= v < math.inf for v in values)
    return is_valid and len(values) == (2 if is_pair else 1)


def check_comparable(student: torch.Tensor, teacher: torch.Tensor, axes: str = "(B, C)") -> None:
    """Refuse tensors of different shapes, or of another number of axes than `axes` names.

    Raises:
        ValueError: see `Loss.forward`.
    """
    if student.shape != teacher.shape or student.dim() != axes.count(",") + 1:
        raise ValueError(f"expected equal shapes {axes}, found {tuple(student.shape)} and {tuple(teacher.shape)}")
    if not torch.isfinite(teacher).all():
        raise ValueError("the teacher's output is not finite; fine-tune it again with a lower lr")


def check_layer_pairs(layers: Sequence[Sequence[int]] | None) -> None:
    """Refuse layers that are not a list of pairs of numbers; None: `uniform_layer_pairs` chooses them.

    Raises:
        UserError: see above.
    """
    if layers is None:
        return
    pairs = isinstance(layers, Sequence) and all(isinstance(pair, Sequence) and len(pair) == 2 for pair in layers)
    if not pairs or not layers or not all(isinstance(n, int) for pair in layers for n in pair):
        raise UserError(f"layers is {layers!r}, expected pairs [[student's, teacher's], ...], or null")


def check_layers_exist(loss: str, pairs: Sequence[tuple[int, int]], last: tuple[int, int], first: str = "") -> None:
    """Refuse pairs (student, teacher) of layers beyond the `last` of each; `first`: what layer 0 is, for the message.

    Raises:
        UserError: names the layers that there are.
    """
    if any(not (0 <= student <= last[0] and 0 <= teacher <= last[1]) for student, teacher in pairs):
        raise UserError(
            f"{loss}: layers is {[list(pair) for pair in pairs]}, but the student has layers 0 to {last[0]} and the "
            f"teacher 0 to {last[1]}{first}; correct conf/loss/"
        )


def uniform_layer_pairs(student: int, teacher: int) -> list[tuple[int, int]]:
    """For each layer of a student the teacher's layer at the same relative depth, from the numbers of layers.

    Jiao et al. 2020, arXiv:1909.10351.
    """
    return [(i, max(1, round((i + 1) * teacher / student)) - 1) for i in range(student)]
