"""No augmentation: the batch as it is."""

from decant.augment import Augment


class Unchanged(Augment):
    """Nothing is done."""
