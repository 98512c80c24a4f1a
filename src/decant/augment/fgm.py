"""Fast gradient method: Miyato, Dai & Goodfellow, ICLR 2017, arXiv:1605.07725.

"Adversarial Training Methods for Semi-Supervised Text Classification": r = epsilon g / ||g||, with g the gradient of
the loss with respect to the embedded tokens of a row. The loss on the embedding + r is added, with a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from decant.augment import Augment, Step
from decant.core.errors import UserError, require

if TYPE_CHECKING:
    from decant.dataset.modality import Batch


class FGM(Augment):
    """Also trains on embeddings that are moved in the direction that raises the loss: two more passes per step.

    `epsilon`, above 0, is the length of the move of a row, in units of the embedding; `weight`, above 0, that of the
    term.
    """

    modality = "text"

    def __init__(self, epsilon: float, weight: float) -> None:
        super().__init__()
        self.epsilon, self.weight = epsilon, weight
        expected = "a finite number above 0"
        require(self, epsilon=(0 < epsilon < float("inf"), expected), weight=(0 < weight < float("inf"), expected))

    def extra(self, step: Step, batch: Batch, logits: torch.Tensor, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """The term `adversarial`."""
        move = perturbation(self.gradient(step, batch), self.epsilon)
        with output_changed(token_embedding(step), lambda embedded: embedded + move.to(embedded.dtype)):
            return {"adversarial": self.weight * step.loss(step.logits(batch), batch)}

    def gradient(self, step: Step, batch: Batch) -> torch.Tensor:
        """The gradient (B, T, E) of the loss with respect to the embedded tokens, from a new pass.

        Raises:
            UserError: the network does not use its embedding exactly once.
        """
        embedded: list[torch.Tensor] = []

        def record(output: torch.Tensor) -> torch.Tensor:
            embedded.append(output.detach().requires_grad_())
            return embedded[-1]

        with output_changed(token_embedding(step), record):
            loss = step.loss(step.logits(batch), batch)
        if len(embedded) != 1:
            raise UserError(f"augment fgm: the network embeds {len(embedded)} times a pass, not once; choose another")
        return torch.autograd.grad(loss, embedded)[0].float()


def perturbation(gradient: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The gradient (B, T, E) of each row scaled to length `epsilon`; a row with gradient 0 stays 0."""
    # divide by the largest value first: the square of a tiny gradient is 0 in float32
    scaled = gradient / gradient.abs().amax((1, 2), keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
    return epsilon * F.normalize(scaled.flatten(1)).view_as(gradient)


def token_embedding(step: Step) -> nn.Module:
    """The module that embeds the tokens.

    Raises:
        UserError: the network does not tell which it is.
    """
    try:
        return step.network.get_input_embeddings()
    except NotImplementedError:
        name = type(step.network).__name__
        raise UserError(f"augment fgm needs get_input_embeddings(), which {name} lacks; choose another") from None


@contextmanager
def output_changed(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Inside the context, `change` is applied to the output of `module`."""
    handle = module.register_forward_hook(lambda _, inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()
