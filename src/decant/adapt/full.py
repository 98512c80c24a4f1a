"""Full fine-tuning: every weight is trained, all at one rate."""

from decant.adapt import Adapt, known_mode
from decant.core.errors import require


class Full(Adapt):
    """Everything is trained from the first step on; a network from scratch is trained like this."""

    transfers = False

    def __init__(self, batch_norm: str = "update") -> None:
        self.batch_norm = batch_norm
        require(self, batch_norm=known_mode(batch_norm))
