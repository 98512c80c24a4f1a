"""Mirror images: Krizhevsky, Sutskever & Hinton, "ImageNet Classification with Deep CNNs", NeurIPS 2012."""

import torch
from kornia.augmentation import RandomHorizontalFlip

from decant.augment.image_augment import ImageAugment
from decant.core.errors import require


class Flip(ImageAugment):
    """Mirrors an image left to right with `probability` in [0, 1]. Not for letters or digits."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        require(self, probability=(0 <= probability <= 1, "in [0, 1]"))

    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `ImageAugment.change`."""
        return RandomHorizontalFlip(p=self.probability)(pixels)
