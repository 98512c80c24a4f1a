"""CutMix: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers", ICCV 2019, arXiv:1905.04899.

A box of area (1 - s) H W, with s from Beta(alpha, alpha), around a uniform centre is replaced by another image.
"""

import torch

from decant.augment.image_augment import MixAugment


class CutMix(MixAugment):
    """Each image with a box from another image of the batch; the share is that of the pixels outside the box."""

    def mix(self, pixels: torch.Tensor, partners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `MixAugment.mix`."""
        height, width = pixels.shape[2:]
        side = (1 - self.sample_share()).sqrt()
        rows, columns = random_interval(height, side), random_interval(width, side)
        share = 1 - rows.sum() * columns.sum() / (height * width)
        box = (rows[:, None] & columns[None, :]).to(pixels.device)
        return torch.where(box, partners, pixels), share


def random_interval(size: int, side: torch.Tensor) -> torch.Tensor:
    """(size,) bool: an interval of the share `side` () around a random centre, cut off at the border."""
    centre = torch.randint(size, ())
    half = (side * size / 2).long()
    position = torch.arange(size)
    return (position >= centre - half) & (position < centre + half)
