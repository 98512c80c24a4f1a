"""Gradual unfreezing (Howard & Ruder 2018, "Universal Language Model Fine-tuning", ACL, arXiv:1801.06146)."""

from transformers import PreTrainedModel

from decant.core.errors import require
from decant.models.blocks import require_backbone
from decant.training.adaptation import Adapt, check_batch_norm


class Gradual(Adapt):
    """Trains the head first, then one more block at a time from the top, during the first `share` of training.

    `share`, in (0, 1], is divided into as many equal phases as there are blocks, the head included; from the last phase
    on everything is trained.
    """

    def __init__(self, share: float, batch_norm: str) -> None:
        self.share, self.batch_norm = share, batch_norm
        require(self, share=(0 < share <= 1, "a number in (0, 1]"), batch_norm=check_batch_norm(batch_norm))

    def wrap(self, network: PreTrainedModel) -> PreTrainedModel:
        """`network`, if it has blocks; all of it requires gradients from the start, because DDP needs a fixed set."""
        return require_backbone(network)

    def lr_multiplier(self, block: int, blocks: int, progress: float) -> float:
        """See `Adapt.lr_multiplier`."""
        phase = blocks - 1 - block
        return float(progress >= self.share * phase / blocks)
