"""Full fine-tuning: every weight is trained, all at one rate."""

from decant import UserError
from decant.adapt import Adapt


class Full(Adapt):
    """Everything is trained from the first step on; a network from scratch is trained like this."""

    transfers = False

    def __init__(self, batch_norm: str = "update") -> None:
        if batch_norm not in ("update", "frozen"):
            raise UserError(f"batch_norm is {batch_norm!r}, expected update or frozen")
        self.batch_norm = batch_norm
