"""Hidden states: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv:1412.6550.

For transformers: Jiao et al., "TinyBERT", 2020, arXiv:1909.10351.

L = a mean over pairs of layers of mean((student's states W - teacher's states)²) + w CE(student, target)

There is one W for each pair. It is trained with the student and not saved with it.
"""

from collections.abc import Sequence

import torch
from torch import nn

from decant.loss import Loss, Output, Weight
from decant.loss.checks import (
    check_comparable,
    check_layer_pairs,
    check_layers_exist,
    check_weights,
    uniform_layer_pairs,
)
from decant.loss.states import mean_over_tokens, pooled, same_grid
from decant.task import Objective


class Hint(Loss):
    """Compares states token by token if both networks read the same tokens, otherwise their means over each row.

    Args:
        weight: of the term.
        hard_weight: of the supervised loss.
        layers: pairs [student's, teacher's], counted from 0, the embedding; null: for each of the student's the
            teacher's at the same relative depth.
    """

    needs = ("logits", "hidden")

    def __init__(self, weight: Weight, hard_weight: Weight, layers: Sequence[Sequence[int]] | None) -> None:
        super().__init__()
        self.layers, self.term_weights = layers, {"hint": weight, "hard": hard_weight}
        check_weights(weight=weight, hard_weight=hard_weight)
        check_layer_pairs(layers)
        self.projections = nn.ModuleList()

    def bind(self, student: Output, teacher: Output, aligned: bool) -> None:
        """Choose the layers and initialise a projection for each pair."""
        depths = len(student.hidden) - 1, len(teacher.hidden) - 1
        self.pairs = [(0, 0), *((s + 1, t + 1) for s, t in uniform_layer_pairs(*depths))]
        if self.layers is not None:
            self.pairs = [(s, t) for s, t in self.layers]
        check_layers_exist("hint", self.pairs, depths, " (0: the embedding)")
        self.aligned = aligned
        self.projections = nn.ModuleList(
            projection(student.hidden[s].shape, teacher.hidden[t].shape) for s, t in self.pairs
        )
        print(f"hint: student > teacher {', '.join(f'{s} > {t}' for s, t in self.pairs)}", flush=True)

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        terms = [
            self.distance(student, teacher, s, t, p) for (s, t), p in zip(self.pairs, self.projections, strict=True)
        ]
        return {"hint": torch.stack(terms).mean()}

    def distance(self, student: Output, teacher: Output, s: int, t: int, projection: nn.Module) -> torch.Tensor:
        """Mean squared distance of layer `s` of the student from layer `t` of the teacher."""
        if self.aligned:
            first, second = same_grid(student.hidden[s], teacher.hidden[t])
        else:
            first, second = (pooled(o.hidden[i], o.mask)[:, None] for o, i in ((student, s), (teacher, t)))
        first = projection(first)
        check_comparable(first, second, "(B, T, H)")
        return mean_over_tokens((first - second).square().mean(2), student.mask if self.aligned else None)


def projection(student: torch.Size, teacher: torch.Size) -> nn.Linear:
    """A linear layer from the student's width to the teacher's; equal widths: initialised as the identity."""
    student_width, teacher_width = (shape[1] if len(shape) == 4 else shape[2] for shape in (student, teacher))
    layer = nn.Linear(student_width, teacher_width)
    if student_width == teacher_width:
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer
