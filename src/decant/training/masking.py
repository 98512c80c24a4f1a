"""Gaps in texts: which tokens are to be guessed, and what stands there instead."""

from typing import Any

import torch

from decant.core.errors import UserError
from decant.dataset.modality import Batch

MASK, RANDOM = 0.8, 0.1
"""Shares of the chosen tokens that become the mask, or any other token; the rest stays as it is."""


class Gaps:
    """Makes gaps, as BERT does: a share `rate` of each text's tokens, at least one (Devlin et al. 2019, 3.1).

    Special tokens are never chosen; the unknown token is one of them.
    """

    def __init__(self, tokenizer: Any, rate: float) -> None:
        if tokenizer.mask_token_id is None:
            raise UserError("the tokenizer has no mask token; choose another teacher, or pretrain none")
        self.mask, self.size, self.rate = tokenizer.mask_token_id, len(tokenizer), rate
        self.special = torch.tensor(tokenizer.all_special_ids)

    def make(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """`batch` with gaps in `input_ids` (B, T), `gap` (B, T) bool, and `target` (M,): the tokens of the M gaps.

        Drawn on the CPU: what is masked does not depend on the device.
        """
        ids = batch["input_ids"]
        gap = self.choose(ids.cpu(), generator)
        filled = self.fill(ids.cpu(), generator)
        gap, filled = gap.to(ids.device), filled.to(ids.device)
        return {**batch, "input_ids": torch.where(gap, filled, ids), "gap": gap, "target": ids[gap]}

    def allowed(self, ids: torch.Tensor) -> torch.Tensor:
        """Where there could be a gap (B, T)."""
        return ~torch.isin(ids, self.special)

    def choose(self, ids: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Where the gaps are (B, T)."""
        allowed = self.allowed(ids)
        number = allowed.sum(1, keepdim=True)
        number = (self.rate * number).round().clamp(min=1).minimum(number)
        lot = torch.rand(ids.shape, generator=generator).masked_fill(~allowed, 2.0)
        return (lot.argsort(1).argsort(1) < number) & allowed

    def fill(self, ids: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """What stands in a gap (B, T)."""
        lot = torch.rand(ids.shape, generator=generator)
        others = torch.randint(self.size, ids.shape, generator=generator)
        filled = torch.where(lot < MASK + RANDOM, others, ids)
        return filled.masked_fill(lot < MASK, self.mask)
