"""Head only: the backbone is a frozen feature extractor (Donahue et al. 2014, arXiv:1310.1531).

The features are computed once; an epoch then takes milliseconds.
"""

from decant.training.adaptation import Adapt, Probe


class HeadOnly(Adapt):
    """Trains the head on cached features; nothing else changes, not even the statistics of batch normalisation."""

    trains_backbone = False

    def __init__(self, epochs: int, lr: float, batch_size: int) -> None:
        self.probe = Probe(epochs, lr, batch_size)
