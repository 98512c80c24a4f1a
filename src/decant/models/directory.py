"""Model directories, what stages hand each other: weights, config, tokenizer or image processor."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, PreTrainedModel

from decant.backbone import reading
from decant.core.errors import UserError
from decant.dataset.modality import Encoder, Modality, Row
from decant.models import mlp_head


@dataclass(frozen=True)
class Head:
    """The shape of a classification head; by default, the head that transformers gives the architecture."""

    hidden: int | None = None
    """Units of a hidden layer; None: no such layer."""
    one_logit: bool = False
    """One number through a sigmoid, for two classes."""

    @property
    def custom(self) -> bool:
        """Whether transformers has no head of this shape, so that loading it takes decant."""
        return self.hidden is not None or self.one_logit


def handed(folder: Path) -> AbstractContextManager[None]:
    """For the reading of a model directory that a stage wrote; a file that is not there is told by `run.stage`.

    Raises:
        UserError: it is damaged.
        FileNotFoundError: it is not there.
    """
    return reading(folder, "as an earlier stage wrote it: run: dvc repro", (FileNotFoundError,))


def register(folder: Path) -> None:
    """Make an architecture of ours known to transformers, if `folder` holds one."""
    module = json.loads((folder / "config.json").read_text()).get("architecture_module", "")
    if module.startswith("decant.backbone."):  # nothing else is imported on a file's word
        import_module(module)


def with_head(auto: Any, folder: Path, head: Head, **config: Any) -> PreTrainedModel:
    """The backbone of `folder` under a new head, drawn from the global seed; prints what was loaded.

    `config`: entries of the network's configuration.
    """
    register(folder)
    if head.custom:
        return mlp_head.on(folder, head.hidden, head.one_logit, **config)
    if not (folder / "model.safetensors").exists():
        # some configurations ask for half precision, which their weights are stored in
        model = auto.from_config(AutoConfig.from_pretrained(folder, **config), dtype=torch.float32)
        print(f"{folder}: from scratch, {model.num_parameters():,} parameters")
        return model
    model, info = auto.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **config
    )
    new, dropped = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    print(f"{folder}: {model.num_parameters():,} parameters, new: {new}, dropped: {dropped or 'nothing'}")
    return model


def with_dropout(config: dict[str, Any], share: float) -> dict[str, Any]:
    """What is in a config.json, with `share` in [0, 1) for all dropout that it knows.

    Raises:
        UserError: it knows none.
    """
    parts = [config, config.get("body", {})]  # of a network of ours, that of its backbone, too
    known = [{key for key, value in part.items() if is_dropout(key, value)} for part in parts]
    if not any(known):
        raise UserError(f"distill.dropout is {share}, but a {config['model_type']} names no dropout; set it to null")
    whole, body = ({**part, **dict.fromkeys(keys, share)} for part, keys in zip(parts, known, strict=True))
    return whole | ({"body": body} if body else {})


def is_dropout(key: str, value: Any) -> bool:
    """Whether an entry of a config.json is a share that is dropped, not a switch."""
    return (
        ("dropout" in key or key.endswith("pdrop")) and isinstance(value, float | int) and not isinstance(value, bool)
    )


def load(folder: Path, modality: Modality) -> tuple[PreTrainedModel, Encoder]:
    """Network, in eval mode, and encoder of a finished model directory."""
    with handed(folder):
        register(folder)
        network = modality.auto().from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        return network.eval(), modality.encoder(folder)


def save(model: PreTrainedModel, processor: Any, folder: Path) -> None:
    """Write an ordinary Hugging Face model directory, equal bytes for equal weights.

    `processor`: the tokenizer or image processor.
    """
    model.config.name_or_path = ""  # else an absolute path of this machine
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


@torch.inference_mode()
def predict(model: PreTrainedModel, encoder: Encoder, rows: Sequence[Row]) -> np.ndarray:
    """Logits (N, C), float32, of `rows` in their order: one pass, in full precision, on the model's device."""
    model.eval()
    return encoder.apply(rows, lambda inputs: model(**inputs).logits.float(), model.device).numpy()
