"""What augmentations of images have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch.distributions import Beta

from decant.augment import Augment
from decant.core.errors import require

if TYPE_CHECKING:
    from decant.dataset.modality import Batch


class ImageAugment(Augment):
    """Changes only the pixels."""

    modality = "image"

    @abstractmethod
    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """The changed pixels (B, 3, H, W), from float32 in [0, 1] of the same shape."""

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        pixels = batch["pixels"]
        # in bfloat16 the matrices of an affine transform are wrong by whole pixels
        with torch.autocast(pixels.device.type, enabled=False):
            changed = self.change(pixels.float()).clamp(0, 1)
        return {**batch, "pixels": changed.to(pixels.dtype)}


class MixAugment(Augment):
    """Mixes each image with another one of the batch.

    The targets are not changed. The batch gets `partner` (B,) long, the index of the other row, and `share` () float in
    [0, 1], the weight of the row's own target. There is one share per batch, so that losses that are means over rows
    can be mixed.
    """

    modality = "image"
    mixes_rows = True

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        require(self, alpha=(0 < alpha < float("inf"), "a finite number above 0"))

    def sample_share(self) -> torch.Tensor:
        """A share () from Beta(alpha, alpha)."""
        return Beta(self.alpha, self.alpha).sample()

    @abstractmethod
    def mix(self, pixels: torch.Tensor, partners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixtures (B, 3, H, W) of `pixels` and their `partners`, and the share () of `pixels` in them."""

    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        pixels = batch["pixels"]
        partner = torch.randperm(len(pixels)).to(pixels.device)
        mixed, share = self.mix(pixels, pixels[partner])
        return {**batch, "pixels": mixed, "partner": partner, "share": share.to(pixels.device)}


def is_range(pair: list[float], low: float, high: float) -> bool:
    """Whether `pair` is an interval within (low, high]."""
    return len(pair) == 2 and low < pair[0] <= pair[1] <= high
