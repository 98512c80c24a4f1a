"""Random swap, of neighbours: Wei & Zou, "EDA: Easy Data Augmentation Techniques", EMNLP 2019, arXiv:1901.11196."""

import torch

from decant.augment.text_augment import TextAugment
from decant.core.errors import require


class WordSwap(TextAugment):
    """Swaps neighbouring tokens, a pair with probability `rate`, in [0, 1].

    Pairs start at the odd or at the even positions, at random for each row, so that no token moves twice. The paper
    swaps any two words; neighbours keep more of the meaning.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        require(self, rate=(0 <= rate <= 1, "in [0, 1]"))

    def change(self, ids: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        """See `TextAugment.change`."""
        rows, width = ids.shape
        position = torch.arange(width)
        starts_pair = (position + torch.randint(2, (rows, 1))) % 2 == 0
        swapped = ((torch.rand(rows, width) < self.rate) & starts_pair).to(ids.device)
        swapped = swapped & inner & torch.roll(inner, -1, 1)
        move = swapped.long() - torch.roll(swapped, 1, 1).long()
        return ids.gather(1, position.to(ids.device) + move)
