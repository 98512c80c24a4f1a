"""A backbone: a network and its tokenizer. One yaml in conf/backbone/ names its family and its weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from decant.core.errors import require


@dataclass(kw_only=True)
class Backbone(ABC):
    """Writes a model directory without a head; the task adds the head when training starts."""

    lr_scale: float = 1.0
    """Learning rate relative to the stage's `lr`, which is meant for a pretrained transformer."""

    modality: ClassVar[str] = "text"
    """`text` or `image`: what its network takes."""
    pairs: ClassVar[bool] = False
    """Whether it takes pairs of texts alone."""
    states: ClassVar[bool] = True
    """Whether its network gives hidden states and attention, or some of them."""
    cacheable: ClassVar[bool] = True
    """Whether its head reads one vector of the backbone's output, which can be computed once and kept."""

    def __post_init__(self) -> None:
        require(self, lr_scale=(self.lr_scale > 0, "a number above 0"))

    def has_weights(self) -> bool:
        """Whether `write` writes weights, not the architecture alone."""
        return False

    @abstractmethod
    def write(self, folder: Path) -> dict[str, Any]:
        """Write `config.json`, the tokenizer and, if pretrained, `model.safetensors` into `folder`.

        Without weights the stage that trains initialises them under its seed. Returns what the manifest
        should say of the origin: no absolute paths, no time.

        Raises:
            UserError: weights that are missing, altered (sha256) or out of reach.
        """
