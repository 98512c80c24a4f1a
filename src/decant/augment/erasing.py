"""Random erasing: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, arXiv:1708.04896."""

import torch
from kornia.augmentation import RandomErasing

from decant.augment.image_augment import ImageAugment, is_range
from decant.core.errors import require


class Erasing(ImageAugment):
    """Fills a random rectangle of an image with one grey, with `probability` in [0, 1].

    `scale` is the range of the rectangle's area as a share of the image's, within (0, 1]; `ratio` the range of its
    height divided by its width; `value` the grey, from 0 (black) to 1.
    """

    def __init__(self, probability: float, scale: list[float], ratio: list[float], value: float) -> None:
        super().__init__()
        self.probability, self.scale, self.ratio, self.value = probability, scale, ratio, value
        require(
            self,
            probability=(0 <= probability <= 1, "in [0, 1]"),
            scale=(is_range(scale, 0, 1), "two numbers, rising, in (0, 1]"),
            ratio=(is_range(ratio, 0, 10), "two numbers, rising, in (0, 10]"),
            value=(0 <= value <= 1, "in [0, 1]"),
        )

    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `ImageAugment.change`."""
        scale, ratio = (self.scale[0], self.scale[1]), (self.ratio[0], self.ratio[1])
        return RandomErasing(scale, ratio, self.value, p=self.probability)(pixels)
