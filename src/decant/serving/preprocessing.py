"""What turns raw inputs into the arrays of a network: the interface of texts and images.

Shipped with every logged model; may import only what `predictor.py` may import.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from decant.core.errors import UserError
from decant.serving.limits import short_repr

Arrays = dict[str, np.ndarray]
"""The inputs of a network by name."""
Check = Callable[[], None]
"""Raises an error to end a call that takes too long."""
MAX_NAMES = 10
"""Keys of a mapping that a message names."""


class BadInput(UserError):
    """An input without a prediction: its `position` in the call, from 0, and the `reason`."""

    def __init__(self, position: int, reason: str) -> None:
        self.position, self.reason = position, reason
        super().__init__(f"inputs[{position}] is {reason}")


def no_check() -> None:
    """Never ends a call."""


class Preprocessor(ABC):
    """Turns raw inputs of one modality into the arrays of a network."""

    @abstractmethod
    def encode(self, inputs: Sequence[object], check: Check = no_check) -> list[Any]:
        """Check each input and turn it into an item that `collate` takes; calls `check` for each.

        Raises:
            BadInput: the first bad input.
        """

    @abstractmethod
    def batch_order(self, items: Sequence[Any]) -> list[int]:
        """The order in which items fill the batches, so that items of similar cost share a batch."""

    @abstractmethod
    def collate(self, items: Sequence[Any]) -> Arrays:
        """The arrays of one forward pass."""


def describe(value: object) -> str:
    """A bad input in a message: short, and never the bytes of a file."""
    if isinstance(value, Mapping):
        names = [f"{short_repr(k)} ({type(v).__name__})" for k, v in islice(value.items(), MAX_NAMES)]
        return f"a mapping of {', '.join(names) or 'nothing'}{', ...' if len(value) > MAX_NAMES else ''}"
    if isinstance(value, bytes | Image.Image):
        return "bytes" if isinstance(value, bytes) else "an image"
    return f"{short_repr(value)} ({type(value).__name__})"
