"""Word dropout: Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods", ACL 2015 (P15-1162)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from decant.augment import TextAugment
from decant.core.errors import UserError, require

if TYPE_CHECKING:
    from decant.dataset.modality import Encoder


class WordDropout(TextAugment):
    """Each token hidden with probability `rate`, in [0, 1), behind the tokenizer's mask; without one, its unknown word.

    The paper leaves words out; a mask keeps the lengths.
    """

    hidden: int
    """The token to hide behind."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        require(self, rate=(0 <= rate < 1, "in [0, 1)"))

    def bind(self, encoder: Encoder) -> None:
        """See `Augment.bind`."""
        tokenizer = encoder.processor
        known = [t for t in (tokenizer.mask_token_id, tokenizer.unk_token_id) if t is not None]
        if not known:
            raise UserError("augment word_dropout: the tokenizer has neither a mask nor an unknown word")
        self.hidden = known[0]

    def change(self, ids: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        """See `TextAugment.change`."""
        chosen = (torch.rand(ids.shape) < self.rate).to(ids.device)
        return ids.masked_fill(chosen & inner, self.hidden)
