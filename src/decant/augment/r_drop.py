"""R-Drop: Liang et al., "R-Drop: Regularized Dropout for Neural Networks", NeurIPS 2021, arXiv:2106.14448.

L = L_1 + L_2 + alpha (KL(p_1 || p_2) + KL(p_2 || p_1)) / 2, with p_1 and p_2 from two passes with different dropout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from decant.augment import Augment, Step
from decant.core.errors import require

if TYPE_CHECKING:
    from decant.dataset.modality import Batch


class RDrop(Augment):
    """Adds a second pass and a term for its disagreement with the first. `alpha`, above 0, weights the disagreement."""

    single_label = True
    needs_dropout = True

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        require(self, alpha=(0 < alpha < float("inf"), "a finite number above 0"))

    def extra(self, step: Step, batch: Batch, logits: torch.Tensor, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """The terms `second`, the loss of the second pass, and `r_drop`, the disagreement."""
        second = step.logits(batch)
        return {"second": step.loss(second, batch), "r_drop": self.alpha * disagreement(logits, second)}


def disagreement(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Half the sum of both KL divergences of the softmax of logits (B, C), in nats, averaged over rows."""
    p, q = F.log_softmax(first.float(), dim=1), F.log_softmax(second.float(), dim=1)
    return ((p.exp() - q.exp()) * (p - q)).sum(1).mean() / 2  # the sum of both, without cancellation
