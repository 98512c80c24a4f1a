"""CutMix: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers", ICCV 2019, arXiv:1905.04899.

A box of area (1 - s) H W, s from Beta(alpha, alpha), around a uniform centre comes from another image.
"""

import torch

from decant.augment import MixAugment


def span(size: int, side: torch.Tensor) -> torch.Tensor:
    """(size,) bool: `side` () of `size` around a random centre, cut off at the border."""
    centre = torch.randint(size, ())
    half = (side * size / 2).long()
    place = torch.arange(size)
    return (place >= centre - half) & (place < centre + half)


class CutMix(MixAugment):
    """Each image with a box from another of the batch; its share is that of the pixels that are still its own."""

    def mix(self, pixels: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `MixAugment.mix`."""
        height, width = pixels.shape[2:]
        side = (1 - self.drawn()).sqrt()
        tall, wide = span(height, side), span(width, side)
        share = 1 - tall.sum() * wide.sum() / (height * width)
        box = (tall[:, None] & wide[None, :]).to(pixels.device)
        return torch.where(box, other, pixels), share
