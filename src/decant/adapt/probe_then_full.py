"""Linear probe, then full fine-tuning (Kumar et al. 2022, arXiv:2202.10054).

"Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022. With a random head the
first gradients are noise that distorts the backbone; with a trained head they are not.
"""

from decant.adapt.full import Full
from decant.training.adaptation import Probe


class ProbeThenFull(Full):
    """Trains the head on cached features for `epochs`, then everything for the epochs of the stage."""

    needs_pretrained = True

    def __init__(self, epochs: int, lr: float, batch_size: int, batch_norm: str) -> None:
        super().__init__(batch_norm)
        self.probe = Probe(epochs, lr, batch_size)
