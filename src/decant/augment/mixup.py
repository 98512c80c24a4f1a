"""mixup: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv:1710.09412.

x = s x_i + (1 - s) x_j, with s from Beta(alpha, alpha); the loss is mixed the same way by the learner.
"""

import torch

from decant.augment import MixAugment


class Mixup(MixAugment):
    """Each image blended with another of the batch."""

    def mix(self, pixels: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `MixAugment.mix`."""
        share = self.drawn().to(pixels.device)
        return torch.lerp(other, pixels, share.to(pixels.dtype)), share
