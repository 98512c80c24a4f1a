"""Word dropout: Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods", ACL 2015 (P15-1162)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from decant.augment.text_augment import TextAugment
from decant.core.errors import UserError, require

if TYPE_CHECKING:
    from decant.dataset.modality import Encoder


class WordDropout(TextAugment):
    """Replaces tokens, each with probability `rate` in [0, 1), by the mask token; without one, by the unknown token.

    The paper leaves words out; a mask keeps the lengths.
    """

    replacement: int
    """Id of the token that replaces others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        require(self, rate=(0 <= rate < 1, "in [0, 1)"))

    def bind(self, encoder: Encoder) -> None:
        """See `Augment.bind`."""
        tokenizer = encoder.processor
        candidates = [t for t in (tokenizer.mask_token_id, tokenizer.unk_token_id) if t is not None]
        if not candidates:
            raise UserError(
                "augment word_dropout: the tokenizer has neither a mask nor an unknown word; choose another augment"
            )
        self.replacement = candidates[0]

    def change(self, ids: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        """See `TextAugment.change`."""
        replaced = (torch.rand(ids.shape) < self.rate).to(ids.device)
        return ids.masked_fill(replaced & inner, self.replacement)
