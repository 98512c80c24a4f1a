"""Random swap, of neighbours: Wei & Zou, "EDA: Easy Data Augmentation Techniques", EMNLP 2019, arXiv:1901.11196."""

import torch

from decant.augment import TextAugment
from decant.core.errors import require


class WordSwap(TextAugment):
    """Neighbours change places: a pair of tokens with probability `rate`, in [0, 1].

    Pairs start at the odd or the even places, as drawn for each row, so that no token moves twice. The paper swaps
    any two words; neighbours keep more of the meaning.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        require(self, rate=(0 <= rate <= 1, "in [0, 1]"))

    def change(self, ids: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        """See `TextAugment.change`."""
        rows, width = ids.shape
        place = torch.arange(width)
        start = (place + torch.randint(2, (rows, 1))) % 2 == 0
        first = ((torch.rand(rows, width) < self.rate) & start).to(ids.device)
        first = first & inner & torch.roll(inner, -1, 1)
        move = first.long() - torch.roll(first, 1, 1).long()
        return ids.gather(1, place.to(ids.device) + move)
