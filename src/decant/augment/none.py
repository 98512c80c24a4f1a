"""No augmentation: the batches stay as they are."""

from decant.augment import Augment


class NoAugmentation(Augment):
    """Leaves batches and loss unchanged."""
