"""Word dropout: Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods", ACL 2015 (P15-1162)."""

import torch

from decant.augment import TextAugment, require


class WordDropout(TextAugment):
    """Each token hidden with probability `rate`, in [0, 1), behind the token `token_id`.

    The paper leaves words out; a mask keeps the lengths. `token_id` is the id of [MASK] in the vocabulary of the
    network, 103 in BERT's; where it has none, that of the unknown word.
    """

    def __init__(self, rate: float, token_id: int = 103) -> None:
        super().__init__()
        self.rate, self.token_id = rate, token_id
        require(
            self,
            rate=(0 <= rate < 1, "in [0, 1)"),
            token_id=(isinstance(token_id, int) and token_id >= 0, "a whole number, 0 or more"),
        )

    def change(self, ids: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        """See `TextAugment.change`."""
        hidden = (torch.rand(ids.shape) < self.rate).to(ids.device)
        return ids.masked_fill(hidden & inner, self.token_id)
