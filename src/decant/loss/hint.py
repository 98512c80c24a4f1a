"""Hidden states: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv:1412.6550.

For transformers: Jiao et al., "TinyBERT", 2020, arXiv:1909.10351.

L = a mean over pairs of layers of mean((student's states W - teacher's states)²) + w CE(student, target)

W, one for each pair, is learned with the student and left behind.
"""

from collections.abc import Sequence

import torch
from torch import nn

from decant.core.errors import UserError
from decant.loss import Loss, Output, Weight, check, check_layers, check_weights, uniform
from decant.loss.states import averaged, pooled, states
from decant.task import Objective


class Hint(Loss):
    """States token by token where both networks read the same tokens, else their averages over each row.

    Args:
        weight: of the term.
        hard_weight: of the supervised loss.
        layers: pairs [student, teacher], counted from 0, the embedding; null: each of the student's with that of the
            teacher at the same share of its depth.
    """

    needs = ("logits", "hidden")

    def __init__(self, weight: Weight, hard_weight: Weight, layers: Sequence[Sequence[int]] | None) -> None:
        super().__init__()
        self.layers, self.scales = layers, {"hint": weight, "hard": hard_weight}
        check_weights(weight=weight, hard_weight=hard_weight)
        check_layers(layers)
        self.projections = nn.ModuleList()

    def bind(self, student: Output, teacher: Output, aligned: bool) -> None:
        """Choose the layers and draw a projection for each pair."""
        depths = len(student.hidden) - 1, len(teacher.hidden) - 1
        self.pairs = [(0, 0), *((s + 1, t + 1) for s, t in uniform(*depths))]
        if self.layers is not None:
            self.pairs = [(s, t) for s, t in self.layers]
        if any(not (0 <= s <= depths[0] and 0 <= t <= depths[1]) for s, t in self.pairs):
            raise UserError(
                f"hint: layers is {self.layers}, but the student has layers 0 to {depths[0]} and the teacher 0 to "
                f"{depths[1]} (0: the embedding); correct conf/loss/"
            )
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
        """Mean squared distance of one pair of layers."""
        if self.aligned:
            first, second = states(student.hidden[s], teacher.hidden[t])
        else:
            first, second = (pooled(o.hidden[i], o.mask)[:, None] for o, i in ((student, s), (teacher, t)))
        first = projection(first)
        check(first, second, "(B, T, H)")
        return averaged((first - second).square().mean(2), student.mask if self.aligned else None)


def projection(student: torch.Size, teacher: torch.Size) -> nn.Linear:
    """From the student's width to the teacher's; where they are equal it starts as the identity."""
    own, wanted = (shape[1] if len(shape) == 4 else shape[2] for shape in (student, teacher))
    layer = nn.Linear(own, wanted)
    if own == wanted:
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer
