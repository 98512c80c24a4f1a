"""Colour jitter: Howard, "Some Improvements on Deep CNN Based Image Classification", 2013, arXiv:1312.5402."""

import torch
from kornia.augmentation import ColorJitter

from decant.augment.image_augment import ImageAugment
from decant.core.errors import require


class Jitter(ImageAugment):
    """Random changes of brightness, contrast, saturation and hue for each image; 0 switches one of them off.

    Brightness, contrast and saturation are multiplied by a factor from 1 - x to 1 + x, x in [0, 1]; hue moves by up
    to `hue` turns of the colour circle, in [0, 0.5] (this takes more time than the others together). The order of the
    four is random for each batch.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float) -> None:
        super().__init__()
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        require(
            self,
            brightness=(0 <= brightness <= 1, "in [0, 1]"),
            contrast=(0 <= contrast <= 1, "in [0, 1]"),
            saturation=(0 <= saturation <= 1, "in [0, 1]"),
            hue=(0 <= hue <= 0.5, "in [0, 0.5]"),
        )

    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `ImageAugment.change`."""
        return ColorJitter(self.brightness, self.contrast, self.saturation, self.hue)(pixels)
