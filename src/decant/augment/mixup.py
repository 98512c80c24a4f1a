"""mixup: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv:1710.09412.

x = s x_i + (1 - s) x_j, with s from Beta(alpha, alpha); the loss is mixed the same way by the learner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributions import Beta

from decant.augment import Augment, require

if TYPE_CHECKING:
    from decant.modality import Batch


class Mixup(Augment):
    """Each image blended with another of the batch.

    The targets stay. The batch gets `partner` (B,) long, the index of the other row, and `share` () float in
    [0, 1], the weight of the row's own target: one for the batch, as in the authors' code, so that losses which
    are averages over rows can be mixed.
    """

    modality = "image"
    mixes = True

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        require(self, alpha=(0 < alpha < float("inf"), "a finite number above 0"))

    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        pixels = batch["pixels"]
        partner = torch.randperm(len(pixels)).to(pixels.device)
        share = Beta(self.alpha, self.alpha).sample().to(pixels.device)
        mixed = torch.lerp(pixels[partner], pixels, share.to(pixels.dtype))
        return {**batch, "pixels": mixed, "partner": partner, "share": share}
