"""Rotations: Simard, Steinkraus & Platt, "Best Practices for CNNs Applied to Visual Document Analysis", ICDAR 2003."""

import torch
from kornia.augmentation import RandomRotation

from decant.augment.image_augment import ImageAugment
from decant.core.errors import require


class Rotate(ImageAugment):
    """Rotates each image about its centre by an angle from -degrees to degrees; the corners become black."""

    def __init__(self, degrees: float) -> None:
        super().__init__()
        self.degrees = degrees
        require(self, degrees=(0 < degrees <= 180, "in (0, 180]"))

    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `ImageAugment.change`."""
        return RandomRotation(self.degrees, p=1.0)(pixels)
