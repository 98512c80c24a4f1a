"""Layer-wise decay of the learning rate: blocks near the input are more general, and change more slowly.

Howard & Ruder 2018 (arXiv:1801.06146, "discriminative fine-tuning"); Clark et al. 2020 (ELECTRA, arXiv:2003.10555).
"""

from transformers import PreTrainedModel

from decant.core.errors import require
from decant.models.blocks import require_backbone
from decant.training.adaptation import Adapt, check_batch_norm


class Layerwise(Adapt):
    """Trains every block with `decay` times the learning rate of the block above it; the head with the full rate."""

    def __init__(self, decay: float, batch_norm: str) -> None:
        self.decay, self.batch_norm = decay, batch_norm
        require(self, decay=(0 < decay <= 1, "a number in (0, 1]"), batch_norm=check_batch_norm(batch_norm))

    def wrap(self, network: PreTrainedModel) -> PreTrainedModel:
        """`network`, if it has more than one block."""
        return require_backbone(network)

    def lr_multiplier(self, block: int, blocks: int, progress: float) -> float:
        """See `Adapt.lr_multiplier`."""
        distance = blocks - 1 - block
        return self.decay**distance
