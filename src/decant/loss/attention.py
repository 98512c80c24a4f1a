"""Attention: Wang et al., "MiniLM", NeurIPS 2020, arXiv:2002.10957; layers paired as in TinyBERT (Jiao et al. 2020).

L = a mean over pairs of layers, heads and tokens of KL(teacher's attention || student's) + w CE(student, target)

Where the numbers of heads differ, each network's heads are averaged first.
"""

from collections.abc import Sequence

import torch

from decant.core.errors import UserError
from decant.loss import Loss, Output, Weight, check, check_layers, check_weights, uniform
from decant.loss.states import averaged
from decant.task import Objective


class Attention(Loss):
    """Which tokens each token looks at; both networks have to read the same ones.

    Args:
        weight: of the term.
        hard_weight: of the supervised loss.
        layers: pairs [student, teacher], counted from 0; null: each of the student's with that of the teacher at the
            same share of its depth.
    """

    needs = ("logits", "attention")

    def __init__(self, weight: Weight, hard_weight: Weight, layers: Sequence[Sequence[int]] | None) -> None:
        super().__init__()
        self.layers, self.scales = layers, {"attention": weight, "hard": hard_weight}
        check_weights(weight=weight, hard_weight=hard_weight)
        check_layers(layers)

    def bind(self, student: Output, teacher: Output, aligned: bool) -> None:
        """Choose the layers."""
        if not aligned:
            raise UserError(
                "loss attention compares tokens one by one, but student and teacher cut texts or images in different "
                "ways; choose hint or relation, or a student with the teacher's tokenizer"
            )
        depths = len(student.attention), len(teacher.attention)
        self.pairs = uniform(*depths) if self.layers is None else [(s, t) for s, t in self.layers]
        if any(not (0 <= s < depths[0] and 0 <= t < depths[1]) for s, t in self.pairs):
            raise UserError(
                f"attention: layers is {self.layers}, but the student has layers 0 to {depths[0] - 1} and the teacher "
                f"0 to {depths[1] - 1}; correct conf/loss/"
            )
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
    check(student, teacher, "(B, heads, T, T)")
    student, teacher = student.float(), teacher.float()
    tiny = torch.finfo(torch.float32).tiny  # padding has no attention: 0 log 0 is 0
    each = teacher * (teacher.clamp(min=tiny).log() - student.clamp(min=1e-9).log())
    return averaged(each.sum(3).mean(1), mask)
