"""Full fine-tuning: every weight is trained, all at one rate."""

from decant.core.errors import require
from decant.training.adaptation import Adapt, check_batch_norm


class Full(Adapt):
    """Everything is trained from the first step on; a network from scratch is trained like this."""

    needs_pretrained = False

    def __init__(self, batch_norm: str = "update") -> None:
        self.batch_norm = batch_norm
        require(self, batch_norm=check_batch_norm(batch_norm))
