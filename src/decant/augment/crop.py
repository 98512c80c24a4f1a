"""Random resized crops: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, arXiv:1409.4842."""

import torch
from kornia.augmentation import RandomResizedCrop

from decant.augment import ImageAugment, ordered
from decant.core.errors import require


class Crop(ImageAugment):
    """A part of each image, enlarged to the size of the whole.

    `scale` is the range of the part's area as a share of the image's, within (0, 1]; `ratio` the range of its
    width by its height, relative to 1.
    """

    def __init__(self, scale: list[float], ratio: list[float]) -> None:
        super().__init__()
        self.scale, self.ratio = scale, ratio
        require(
            self,
            scale=(ordered(scale, 0, 1), "two numbers, rising, in (0, 1]"),
            ratio=(ordered(ratio, 0, 10), "two numbers, rising, in (0, 10]"),
        )

    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `ImageAugment.change`."""
        height, width = pixels.shape[-2:]
        scale, ratio = (self.scale[0], self.scale[1]), (self.ratio[0], self.ratio[1])
        return RandomResizedCrop((height, width), scale, ratio, align_corners=False)(pixels)
