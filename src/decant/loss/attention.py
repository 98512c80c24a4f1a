"""Attention: Wang et al., "MiniLM", NeurIPS 2020, arXiv:2002.10957; layers paired as in TinyBERT (Jiao et al. 2020).

L = a mean over pairs of layers, heads and tokens of KL(teacher's attention || student's) + w CE(student, target)

If the numbers of heads differ, each network's heads are averaged first.
"""

from collections.abc import Sequence

import torch

from decant.core.errors import UserError
from decant.loss import Loss, Output, Weight
from decant.loss.checks import (
    check_comparable,
    check_layer_pairs,
    check_layers_exist,
    check_weights,
    uniform_layer_pairs,
)
from decant.loss.states import mean_over_tokens
from decant.task import Objective


class Attention(Loss):
    """Which tokens each token attends to; both networks have to read the same tokens.

    Args:
        weight: of the term.
        hard_weight: of the supervised loss.
        layers: pairs [student's, teacher's], counted from 0; null: for each of the student's the teacher's at the same
            relative depth.
    """

    needs = ("logits", "attention")

    def __init__(self, weight: Weight, hard_weight: Weight, layers: Sequence[Sequence[int]] | None) -> None:
        super().__init__()
        self.layers, self.term_weights = layers, {"attention": weight, "hard": hard_weight}
        check_weights(weight=weight, hard_weight=hard_weight)
        check_layer_pairs(layers)

    def bind(self, student: Output, teacher: Output, aligned: bool) -> None:
        """Choose the layers."""
        if not aligned:
            raise UserError(
                "loss attention compares tokens one by one, but student and teacher split texts or images in different "
                "ways; choose hint or relation, or a student with the teacher's tokenizer"
            )
        depths = len(student.attention), len(teacher.attention)
        self.pairs = uniform_layer_pairs(*depths) if self.layers is None else [(s, t) for s, t in self.layers]
        check_layers_exist("attention", self.pairs, (depths[0] - 1, depths[1] - 1))
        print(f"attention: student > teacher {', '.join(f'{s} > {t}' for s, t in self.pairs)}", flush=True)

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        terms = [divergence(student.attention[s], teacher.attention[t], student.mask) for s, t in self.pairs]
        return {"attention": torch.stack(terms).mean()}


def divergence(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """KL(teacher || student) of attention (B, heads, T, T), averaged over heads, tokens and rows."""
    if student.shape[1] != teacher.shape[1]:
        student, teacher = (a.mean(1, keepdim=True) for a in (student, teacher))
    check_comparable(student, teacher, "(B, heads, T, T)")
    student, teacher = student.float(), teacher.float()
    tiny = torch.finfo(torch.float32).tiny  # attention to padding is 0, and 0 log 0 has to be 0
    summands = teacher * (teacher.clamp(min=tiny).log() - student.clamp(min=1e-9).log())
    return mean_over_tokens(summands.sum(3).mean(1), mask)
