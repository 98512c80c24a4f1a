"""An augmentation: what is done to training batches, never to validation or prediction.

All random numbers come from torch's global generator on the CPU, so that the seed decides them, a resumed training
continues with them, and they do not depend on the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decant.dataset.modality import Batch, Encoder


class Step(Protocol):
    """The training step, for augmentations that need further passes through the network."""

    @property
    def network(self) -> PreTrainedModel:
        """The network that is trained."""

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits (B, C) of a new pass, with its own dropout."""

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss of the learner, a scalar."""


class Augment(nn.Module):
    """Changes the training batch, adds terms to the loss, or both. It has no parameters."""

    modality: str | None = None
    """`text`, `image`, or None: both."""
    single_label: bool = False
    """Whether it works only with tasks with `Objective.single_label`."""
    needs_dropout: bool = False
    """Whether it needs a network with dropout."""
    mixes_rows: bool = False
    """Whether rows are mixed: the batch then has `partner` and `share` (see `MixAugment`)."""

    def bind(self, encoder: Encoder) -> None:
        """Read from the encoder of the network what the augmentation needs; called once, before training.

        Raises:
            UserError: the encoder lacks it.
        """

    def forward(self, batch: Batch) -> Batch:
        """The batch to train on, a new dict; the tensors of `batch` are not changed."""
        return dict(batch)

    def extra(self, step: Step, batch: Batch, logits: torch.Tensor, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """Further terms of the loss, {name: scalar}, already weighted.

        `batch` is the result of `forward`; `logits` (B, C) and `loss` are those of the learner on it.
        """
        return {}
