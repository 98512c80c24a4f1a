"""What ways of pretraining have in common: checking the architecture, and writing the trained weights."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from decant.core.errors import UserError


def require_architecture(folder: Path, architectures: Mapping[str, str], part: str, name: str) -> None:
    """Refuse a model directory whose architecture is not one of `architectures`, which have a `part`.

    Raises:
        UserError: `name` is the pretraining that needs the part.
    """
    architecture = json.loads((folder / "config.json").read_text())["model_type"]
    if architecture not in architectures:
        raise UserError(
            f"the teacher is of the architecture {architecture}, which has no {part}; choose another teacher than one "
            f"of {architecture}, or another pretrain than {name}"
        )


def replace_weights(backbone: PreTrainedModel, folder: Path) -> None:
    """Write the weights of a backbone to a model directory.

    The configuration there is kept, and so are the weights of layers that `backbone` lacks.
    """
    file, config_file = folder / "model.safetensors", folder / "config.json"
    old_weights = load_file(file) if file.exists() else {}
    config = config_file.read_bytes()  # the new one would name the classes of the source task
    backbone.save_pretrained(folder)
    config_file.write_bytes(config)
    new_weights = load_file(file)
    if not old_weights.keys() <= new_weights.keys():
        save_file(old_weights | new_weights, file, {"format": "pt"})  # transformers requires this metadata
