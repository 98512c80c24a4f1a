"""CutMix: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers", ICCV 2019, arXiv:1905.04899.

A box of area (1 - s) H W, s from Beta(alpha, alpha), around a uniform centre comes from another image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributions import Beta

from decant.augment import Augment, require

if TYPE_CHECKING:
    from decant.modality import Batch


def span(size: int, side: torch.Tensor) -> torch.Tensor:
    """(size,) bool: `side` () of `size` around a random centre, cut off at the border."""
    centre = torch.randint(size, ())
    half = (side * size / 2).long()
    place = torch.arange(size)
    return (place >= centre - half) & (place < centre + half)


class CutMix(Augment):
    """Each image with a box from another of the batch.

    The targets stay. The batch gets `partner` (B,) long, the index of the other row, and `share` () float in
    [0, 1], the share of pixels that are still the row's own: one box for the batch, as in the authors' code.
    """

    modality = "image"
    mixes = True

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        require(self, alpha=(0 < alpha < float("inf"), "a finite number above 0"))

    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        pixels = batch["pixels"]
        rows, _, height, width = pixels.shape
        partner = torch.randperm(rows).to(pixels.device)
        side = (1 - Beta(self.alpha, self.alpha).sample()).sqrt()
        tall, wide = span(height, side), span(width, side)
        share = 1 - tall.sum() * wide.sum() / (height * width)
        box = (tall[:, None] & wide[None, :]).to(pixels.device)
        mixed = torch.where(box, pixels[partner], pixels)
        return {**batch, "pixels": mixed, "partner": partner, "share": share.to(pixels.device)}
