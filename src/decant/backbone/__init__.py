"""A backbone: a network and its tokenizer. One yaml in conf/backbone/ names its family and its weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decant import UserError


@dataclass(kw_only=True)
class Backbone(ABC):
    """Writes a model directory without a head; the task adds the head when training starts."""

    lr_scale: float = 1.0
    """Learning rate relative to the stage's `lr`, which is meant for a pretrained transformer."""

    def __post_init__(self) -> None:
        if not self.lr_scale > 0:
            raise UserError(f"lr_scale is {self.lr_scale}, expected a number above 0")

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
