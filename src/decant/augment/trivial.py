"""TrivialAugment: Müller & Hutter, "TrivialAugment: Tuning-Free Yet State-of-the-Art", ICCV 2021, arXiv:2103.10158.

The wide search space of the paper, with kornia's operations. kornia's own TrivialAugment chooses one operation for the
whole batch instead of one for each image, leaves out the identity, and its operations have parameters that an optimizer
would train.
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

from decant.augment.image_augment import ImageAugment
from decant.core.errors import require

LEVELS = 31
"""Number of different strengths."""
Operation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def autocontrast(pixels: torch.Tensor) -> torch.Tensor:
    """Each channel stretched to [0, 1]; a channel of a single value is not changed (kornia makes it black)."""
    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    return torch.where(high > low, (pixels - low) / (high - low).clamp(min=1e-6), pixels)


def solarize(pixels: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Pixels at or above a threshold inverted: 256/255 at strength 0 (none of them), 0 at strength 1 (all)."""
    threshold = (1 - strength).view(-1, 1, 1, 1) * (256 / 255)
    return torch.where(pixels >= threshold, 1 - pixels, pixels)


def on_axis(amount: torch.Tensor, axis: int) -> torch.Tensor:
    """Vectors (n, 2) with `amount` (n,) on one axis, 0 for x or 1 for y, and 0 on the other."""
    return torch.stack([amount, torch.zeros_like(amount)][:: 1 - 2 * axis], dim=1)


OPERATIONS: tuple[Operation, ...] = (
    lambda x, s: x,
    lambda x, s: autocontrast(x),
    lambda x, s: equalize(x.cpu()).to(x.device),  # it has no deterministic kernel on CUDA
    lambda x, s: rotate(x, 135 * s),
    lambda x, s: solarize(x, s.abs()),
    lambda x, s: posterize(x, 8 - (6 * s.abs()).round().int()),
    lambda x, s: adjust_contrast_with_mean_subtraction(x, 1 + 0.99 * s),
    lambda x, s: adjust_saturation_with_gray_subtraction(x, 1 + 0.99 * s),
    lambda x, s: adjust_brightness_accumulative(x, 1 + 0.99 * s),
    lambda x, s: sharpness(x, 1 + 0.99 * s),
    lambda x, s: shear(x, on_axis(0.99 * s, 0)),
    lambda x, s: shear(x, on_axis(0.99 * s, 1)),
    lambda x, s: translate(x, on_axis(32 * s, 0)),
    lambda x, s: translate(x, on_axis(32 * s, 1)),
)
"""Functions of pixels (n, 3, H, W) and strengths (n,) in [-1, 1]."""


class Trivial(ImageAugment):
    """One of 14 operations for each image, at one of 31 strengths, in either direction.

    `strength` in (0, 1] is the largest one, as a share of the paper's wide ranges (1 is the paper; translations go up
    to 32 pixels, so small images need less).
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        require(self, strength=(0 < strength <= 1, "in (0, 1]"))

    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `ImageAugment.change`."""
        rows = len(pixels)
        operation_of = torch.randint(len(OPERATIONS), (rows,))
        sign = 2 * torch.randint(2, (rows,)) - 1
        strength = self.strength * sign * torch.randint(LEVELS, (rows,)) / (LEVELS - 1)
        changed = torch.empty_like(pixels)
        for i in sorted(set(operation_of.tolist())):
            indices = (operation_of == i).nonzero().squeeze(1)
            amount, indices = strength[indices].to(pixels), indices.to(pixels.device)
            changed[indices] = OPERATIONS[i](pixels[indices], amount).clamp(0, 1)
        return changed
