"""Full fine-tuning: every weight is trained, with the same learning rate."""

from decant.core.errors import require
from decant.training.adaptation import Adapt, check_batch_norm


class Full(Adapt):
    """Trains everything from the first step on; also the way to train a network from scratch."""

    needs_pretrained = False

    def __init__(self, batch_norm: str = "update") -> None:
        self.batch_norm = batch_norm
        require(self, batch_norm=check_batch_norm(batch_norm))
