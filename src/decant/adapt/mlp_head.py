"""Only a head with a hidden layer, on the features of the frozen backbone (Chollet 2017, ch. 5.3).

transformers has no such head, so decant has to be installed to load the model.
"""

from decant.adapt.head import HeadOnly
from decant.core.errors import UserError, require
from decant.models.directory import Head


class MLPHead(HeadOnly):
    """`HeadOnly` with a hidden layer of `hidden` units (None: without), and with `one_logit` a single logit."""

    def __init__(self, epochs: int, lr: float, batch_size: int, hidden: int | None, one_logit: bool) -> None:
        super().__init__(epochs, lr, batch_size)
        self.hidden, self.head = hidden, Head(hidden, one_logit)
        require(self, hidden=(hidden is None or hidden > 0, "a number above 0, or null for no hidden layer"))
        if hidden is None and not one_logit:
            raise UserError("hidden is null and one_logit is false, which is adapt head; choose that")
