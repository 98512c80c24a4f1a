"""Head only: the backbone is a frozen extractor of features (Donahue et al. 2014, arXiv:1310.1531).

The features are computed once; an epoch then costs milliseconds.
"""

from decant.training.adaptation import Adapt, Probe


class HeadOnly(Adapt):
    """Trains the head on cached features; nothing else changes, statistics of batch normalisation included."""

    trains_backbone = False

    def __init__(self, epochs: int, lr: float, batch_size: int) -> None:
        self.probe = Probe(epochs, lr, batch_size)
