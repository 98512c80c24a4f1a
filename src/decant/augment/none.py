"""No augmentation: the batch as it is."""

from decant.augment import Augment


class NoAugmentation(Augment):
    """Nothing is done."""
