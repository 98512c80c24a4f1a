"""mixup: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv:1710.09412.

x = s x_i + (1 - s) x_j, with s from Beta(alpha, alpha); the learner mixes the loss in the same way.
"""

import torch

from decant.augment.image_augment import MixAugment


class Mixup(MixAugment):
    """Each image blended with another image of the batch."""

    def mix(self, pixels: torch.Tensor, partners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `MixAugment.mix`."""
        share = self.sample_share().to(pixels.device)
        return torch.lerp(partners, pixels, share.to(pixels.dtype)), share
