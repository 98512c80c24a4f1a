"""Random resized crops: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, arXiv:1409.4842."""

import torch
from kornia.augmentation import RandomResizedCrop

from decant.augment.image_augment import ImageAugment, is_range
from decant.core.errors import require


class Crop(ImageAugment):
    """A random part of each image, resized to the size of the image.

    `scale` is the range of the part's area as a share of the image's, within (0, 1]; `ratio` the range of its width
    divided by its height, relative to 1.
    """

    def __init__(self, scale: list[float], ratio: list[float]) -> None:
        super().__init__()
        self.scale, self.ratio = scale, ratio
        require(
            self,
            scale=(is_range(scale, 0, 1), "two numbers, rising, in (0, 1]"),
            ratio=(is_range(ratio, 0, 10), "two numbers, rising, in (0, 10]"),
        )

    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `ImageAugment.change`."""
        height, width = pixels.shape[-2:]
        scale, ratio = (self.scale[0], self.scale[1]), (self.ratio[0], self.ratio[1])
        return RandomResizedCrop((height, width), scale, ratio, align_corners=False)(pixels)
