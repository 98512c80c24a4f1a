"""TrivialAugment: Müller & Hutter, "TrivialAugment: Tuning-Free Yet State-of-the-Art", ICCV 2021, arXiv:2103.10158.

The wide space of the paper, with kornia's operations. kornia's own TrivialAugment draws one operation for the
whole batch, not one for each image, leaves out identity, and its operations carry parameters that an optimizer
would find.
"""

from collections.abc import Callable

import torch
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_saturation_with_gray_subtraction,
    equalize,
    posterize,
    sharpness,
)
from kornia.geometry.transform import rotate, shear, translate

from decant.augment import ImageAugment
from decant.core.errors import require

LEVELS = 31
Operation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def autocontrast(pixels: torch.Tensor) -> torch.Tensor:
    """Stretch each channel to [0, 1]; a channel of one value stays (kornia makes it black)."""
    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    return torch.where(high > low, (pixels - low) / (high - low).clamp(min=1e-6), pixels)


def solarize(pixels: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Invert what is at or above a threshold: 256 of 255 at strength 0 (nothing), 0 at strength 1 (all)."""
    threshold = (1 - strength).view(-1, 1, 1, 1) * (256 / 255)
    return torch.where(pixels >= threshold, 1 - pixels, pixels)


def along(amount: torch.Tensor, axis: int) -> torch.Tensor:
    """(n, 2) with `amount` (n,) on one axis: 0 is x, 1 is y."""
    return torch.stack([amount, torch.zeros_like(amount)][:: 1 - 2 * axis], dim=1)


# of pixels (n, 3, H, W) and strength (n,) in [-1, 1]
OPERATIONS: tuple[Operation, ...] = (
    lambda x, s: x,
    lambda x, s: autocontrast(x),
    lambda x, s: equalize(x.cpu()).to(x.device),  # its sums have no deterministic kernel on CUDA
    lambda x, s: rotate(x, 135 * s),
    lambda x, s: solarize(x, s.abs()),
    lambda x, s: posterize(x, 8 - (6 * s.abs()).round().int()),
    lambda x, s: adjust_contrast_with_mean_subtraction(x, 1 + 0.99 * s),
    lambda x, s: adjust_saturation_with_gray_subtraction(x, 1 + 0.99 * s),
    lambda x, s: adjust_brightness_accumulative(x, 1 + 0.99 * s),
    lambda x, s: sharpness(x, 1 + 0.99 * s),
    lambda x, s: shear(x, along(0.99 * s, 0)),
    lambda x, s: shear(x, along(0.99 * s, 1)),
    lambda x, s: translate(x, along(32 * s, 0)),
    lambda x, s: translate(x, along(32 * s, 1)),
)


class Trivial(ImageAugment):
    """One operation of 14 for each image, at one of 31 strengths, either way.

    `strength` in (0, 1] is the largest, as a share of the paper's wide ranges (1 is the paper; translations go up to
    32 pixels, so small images want less).
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        require(self, strength=(0 < strength <= 1, "in (0, 1]"))

    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `ImageAugment.change`."""
        rows = len(pixels)
        which = torch.randint(len(OPERATIONS), (rows,))
        sign = 2 * torch.randint(2, (rows,)) - 1
        strength = self.strength * sign * torch.randint(LEVELS, (rows,)) / (LEVELS - 1)
        changed = torch.empty_like(pixels)
        for i in sorted(set(which.tolist())):
            chosen = (which == i).nonzero().squeeze(1)
            amount, there = strength[chosen].to(pixels), chosen.to(pixels.device)
            changed[there] = OPERATIONS[i](pixels[there], amount).clamp(0, 1)
        return changed
