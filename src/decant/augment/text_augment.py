"""What augmentations of texts have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch

from decant.augment import Augment

if TYPE_CHECKING:
    from decant.dataset.modality import Batch


class TextAugment(Augment):
    """Changes only tokens: not the first one, not padding, and not the separator at the end and between two texts."""

    modality = "text"

    @abstractmethod
    def change(self, ids: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        """The changed tokens (B, T), from tokens (B, T) long; `inner` (B, T) bool marks those that may change."""

    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        position = torch.arange(ids.shape[1], device=ids.device)
        last = mask.sum(1, keepdim=True) - 1
        inner = (position > 0) & (position < last) & (ids != ids.gather(1, last))
        return {**batch, "input_ids": self.change(ids, inner)}
