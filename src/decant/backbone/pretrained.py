"""Reading the files of an origin with transformers."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from decant.core.errors import UserError
from decant.models.damage import reporting_damage

REMEDY = "get it again, or name another in conf/backbone/"


def from_pretrained(auto: Any, source: Path, **options: Any) -> Any:
    """`auto.from_pretrained(source)`, for an `Auto` class of transformers; code in the folder is never run.

    Raises:
        UserError: the files need such code, are damaged, or have an architecture that transformers does not know.
    """
    expected = "of an architecture that transformers knows, for code that comes with a model is never run"
    with reporting_damage(source, f"{expected}: {REMEDY}"):
        return auto.from_pretrained(source, trust_remote_code=False, **options)


def load_network(source: Path, config: PretrainedConfig) -> PreTrainedModel:
    """The network of a model directory; only the weights of a pooler may be missing.

    Raises:
        UserError: the weights do not belong to `config`.
    """
    options = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    network, info = from_pretrained(AutoModel, source, config=config, ignore_mismatched_sizes=True, **options)
    if missing := sorted(k for k in info["missing_keys"] if not k.startswith("pooler")):
        raise UserError(f"{source} lacks weights that its config.json asks for: {first_three(missing)}; {REMEDY}")
    if wrong := sorted(str(mismatch[0]) for mismatch in info["mismatched_keys"]):
        raise UserError(
            f"{source} has weights of other shapes than its config.json says: {first_three(wrong)}; {REMEDY}"
        )
    return network


def first_three(names: list[str]) -> str:
    """The first three names, and how many there are."""
    return ", ".join(names[:3]) + (f", ... ({len(names)} in all)" if len(names) > 3 else "")
