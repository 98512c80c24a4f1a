"""An augmentation: what is done to training batches, never to validation or prediction.

Everything random is drawn from torch's global generator on the CPU: a seed decides it, a resumed run goes on with
it, and it does not depend on the device.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn
from torch.distributions import Beta

from decant.core.errors import require

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decant.dataset.modality import Batch, Encoder


class Step(Protocol):
    """What a piece gets for a further pass through the network in the same training step."""

    @property
    def network(self) -> PreTrainedModel:
        """The network in training."""

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits (B, C) of a pass, with its own dropout."""

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The whole loss of the learner, a scalar."""


class Augment(nn.Module):
    """Changes the batch to train on, or adds terms to the loss, or both. It has no parameters."""

    modality: str | None = None
    """`text`, `image`, or None: both."""
    single_label: bool = False
    """Whether it is for `Task.single_label` tasks alone."""
    drops: bool = False
    """Whether it needs a network with dropout."""
    mixes: bool = False
    """Whether rows are mixed: the batch then has `partner` and `share` (see `MixAugment`)."""

    def bind(self, encoder: Encoder) -> None:
        """Take from the encoder of the network what depends on it; once, before training.

        Raises:
            UserError: the encoder lacks something.
        """

    def forward(self, batch: Batch) -> Batch:
        """The batch to train on: a new dict; the tensors of `batch` stay as they are."""
        return dict(batch)

    def extra(self, step: Step, batch: Batch, logits: torch.Tensor, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """Further terms, scalars by name, weighted here and added to the loss.

        `batch` is what `forward` gave; `logits` (B, C) and `loss` are of the pass that the learner made on it.
        """
        return {}


class ImageAugment(Augment):
    """Changes pixels alone."""

    modality = "image"

    @abstractmethod
    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """Other pixels of the same shape (B, 3, H, W), from float32 in [0, 1]."""

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        pixels = batch["pixels"]
        # in bfloat16 the matrices of a warp are off by pixels
        with torch.autocast(pixels.device.type, enabled=False):
            changed = self.change(pixels.float()).clamp(0, 1)
        return {**batch, "pixels": changed.to(pixels.dtype)}


class MixAugment(Augment):
    """Makes each image one of two.

    The targets stay. The batch gets `partner` (B,) long, the index of the other row, and `share` () float in
    [0, 1], the weight of the row's own target: one for the batch, so that losses which are averages over rows can be
    mixed.
    """

    modality = "image"
    mixes = True

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        require(self, alpha=(0 < alpha < float("inf"), "a finite number above 0"))

    def drawn(self) -> torch.Tensor:
        """A share () from Beta(alpha, alpha)."""
        return Beta(self.alpha, self.alpha).sample()

    @abstractmethod
    def mix(self, pixels: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixtures (B, 3, H, W) of `pixels` and those of the partners, and the share () of `pixels` in them."""

    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        pixels = batch["pixels"]
        partner = torch.randperm(len(pixels)).to(pixels.device)
        mixed, share = self.mix(pixels, pixels[partner])
        return {**batch, "pixels": mixed, "partner": partner, "share": share.to(pixels.device)}


class TextAugment(Augment):
    """Changes tokens alone, never the first, padding, or the separator: the last, and that between two texts."""

    modality = "text"

    @abstractmethod
    def change(self, ids: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        """Other tokens (B, T) from tokens (B, T) long; `inner` (B, T) bool: those that may change."""

    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        position = torch.arange(ids.shape[1], device=ids.device)
        last = mask.sum(1, keepdim=True) - 1
        inner = (position > 0) & (position < last) & (ids != ids.gather(1, last))
        return {**batch, "input_ids": self.change(ids, inner)}


def ordered(pair: list[float], low: float, high: float) -> bool:
    """Whether `pair` is a range within (low, high]."""
    return len(pair) == 2 and low < pair[0] <= pair[1] <= high
