"""Several losses at once: L = sum of weight_i L_i, each with its own hard term."""

from typing import Any

import torch
from torch import nn

from decant.core.errors import UserError
from decant.loss import Loss, Output, Weight, weight_at
from decant.loss.checks import check_weights
from decant.task import Objective


class Sum(Loss):
    """A weighted sum of losses.

    Args:
        losses: {name: loss}.
        weight: {name: weight}.
    """

    def __init__(self, losses: dict[str, Any], weight: dict[str, Weight]) -> None:
        super().__init__()
        if set(losses) != set(weight) or len(losses) < 2:
            raise UserError(
                f"weight names {', '.join(sorted(weight)) or 'nothing'} and losses {', '.join(sorted(losses))}; "
                "expected the same names, two or more"
            )
        check_weights(**weight)
        self.losses, self.weight = nn.ModuleDict(losses), weight
        self.needs = tuple(n for n in ("logits", "hidden", "attention") if any(n in x.needs for x in losses.values()))
        self.single_label = any(loss.single_label for loss in losses.values())

    def weights(self, progress: float) -> dict[str, float]:
        """See `Loss.weights`; `hard` is summed over all losses."""
        weights = {"hard": 0.0}
        for name, loss in self.by_name().items():
            share = weight_at(self.weight[name], progress)
            for term, weight in loss.weights(progress).items():
                key = term if term == "hard" else f"{name}/{term}"
                weights[key] = weights.get(key, 0.0) + share * weight
        return weights

    def bind(self, student: Output, teacher: Output, aligned: bool) -> None:
        """See `Loss.bind`."""
        for loss in self.by_name().values():
            loss.bind(student, teacher, aligned)

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        return {
            f"{name}/{term}": value
            for name, loss in self.by_name().items()
            for term, value in loss(student, teacher, target, objective).items()
        }

    def by_name(self) -> dict[str, Loss]:
        """The losses by name."""
        return dict(self.losses.items())  # type: ignore[arg-type]
