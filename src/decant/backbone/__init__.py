"""A backbone: a network and its tokenizer or image processor. A yaml in conf/backbone/ names its family and weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from decant.core.errors import require


@dataclass(kw_only=True)
class Backbone(ABC):
    """Writes a model directory without a head; the task adds the head when training starts."""

    lr_scale: float = 1.0
    """Factor for the stage's `lr`, which is chosen for a pretrained transformer."""

    modality: ClassVar[str] = "text"
    """The inputs of its network: `text` or `image`."""
    pairs_only: ClassVar[bool] = False
    """Whether every input has to be a pair of texts."""
    has_states: ClassVar[bool] = True
    """Whether its network returns hidden states, attention, or both."""
    cacheable: ClassVar[bool] = True
    """Whether its head reads a single vector of the backbone's output, which can be computed once and cached."""

    def __post_init__(self) -> None:
        require(self, lr_scale=(self.lr_scale > 0, "a number above 0"))

    def has_weights(self) -> bool:
        """Whether `write` writes weights, and not only the architecture."""
        return False

    @abstractmethod
    def write(self, folder: Path) -> dict[str, Any]:
        """Write `config.json`, the tokenizer or image processor and, if pretrained, `model.safetensors` into `folder`.

        Without weights, the stage that trains the network initialises them with its seed. Returns what the manifest
        says about the origin: no absolute paths, no time.

        Raises:
            UserError: weights that are missing, changed (sha256) or cannot be fetched.
        """
