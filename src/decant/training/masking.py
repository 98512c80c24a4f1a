"""Masking for masked language modelling: which tokens are to be predicted, and what replaces them."""

from typing import Any

import torch

from decant.core.errors import UserError
from decant.dataset.modality import Batch

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1
"""Shares of the chosen tokens that become the mask token, or a random token; the rest stays."""


class Masking:
    """Masks a share `rate` of each text's tokens, at least one, as BERT does (Devlin et al. 2019, 3.1).

    Special tokens are never chosen; the unknown token is one of them. transformers' collator draws each token
    independently, so that a short text may have no mask.
    """

    def __init__(self, tokenizer: Any, rate: float) -> None:
        if tokenizer.mask_token_id is None:
            raise UserError("the tokenizer has no mask token; choose another teacher, or pretrain none")
        self.mask_token, self.vocabulary_size, self.rate = tokenizer.mask_token_id, len(tokenizer), rate
        self.special_tokens = torch.tensor(tokenizer.all_special_ids)

    def masked(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """`batch` with masked `input_ids` (B, T), `masked` (B, T) bool, and `target` (M,): the M original tokens.

        Random numbers come from the CPU: the masks do not depend on the device.
        """
        ids = batch["input_ids"]
        masked = self.choose(ids.cpu(), generator)
        replacement = self.replacement(ids.cpu(), generator)
        masked, replacement = masked.to(ids.device), replacement.to(ids.device)
        return {**batch, "input_ids": torch.where(masked, replacement, ids), "masked": masked, "target": ids[masked]}

    def maskable(self, ids: torch.Tensor) -> torch.Tensor:
        """Tokens that may be masked (B, T) bool."""
        return ~torch.isin(ids, self.special_tokens)

    def choose(self, ids: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Tokens to be predicted (B, T) bool."""
        maskable = self.maskable(ids)
        count = maskable.sum(1, keepdim=True)
        count = (self.rate * count).round().clamp(min=1).minimum(count)
        order = torch.rand(ids.shape, generator=generator).masked_fill(~maskable, 2.0)
        return (order.argsort(1).argsort(1) < count) & maskable

    def replacement(self, ids: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """What replaces each token (B, T) if it is chosen."""
        chance = torch.rand(ids.shape, generator=generator)
        random_tokens = torch.randint(self.vocabulary_size, ids.shape, generator=generator)
        replacement = torch.where(chance < MASK_SHARE + RANDOM_SHARE, random_tokens, ids)
        return replacement.masked_fill(chance < MASK_SHARE, self.mask_token)
