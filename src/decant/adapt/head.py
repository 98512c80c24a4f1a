"""Head only: the backbone is a frozen extractor of features (Donahue et al. 2014, arXiv:1310.1531).

The features are computed once; an epoch then costs milliseconds.
"""

from decant import UserError
from decant.adapt import Adapt, Probe


class Head(Adapt):
    """Trains the head on cached features; nothing else changes, statistics of batch normalisation included."""

    tunes = False

    def __init__(
        self, epochs: int, lr: float, batch_size: int, hidden: int | None = None, one_logit: bool = False
    ) -> None:
        if hidden is not None and hidden <= 0:
            raise UserError(f"hidden is {hidden}, expected a number above 0, or null for no hidden layer")
        self.probe = Probe(epochs, lr, batch_size)
        self.hidden, self.one_logit = hidden, one_logit
