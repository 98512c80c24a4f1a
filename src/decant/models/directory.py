"""Model directories, what stages pass to each other: weights, config, tokenizer or image processor."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, PreTrainedModel

from decant.core import manifest
from decant.dataset.modality import Encoder, Modality, Row
from decant.models import mlp_head
from decant.models.damage import reading_model_directory

ARCHITECTURES = ("decant.backbone.", "decant.models.")
"""Packages whose modules a config.json may name as its `architecture_module`."""


@dataclass(frozen=True)
class Head:
    """The shape of a classification head; by default, the head that transformers gives the architecture."""

    hidden: int | None = None
    """Units of a hidden layer; None: no such layer."""
    one_logit: bool = False
    """A single logit with a sigmoid, for two classes."""

    @property
    def custom(self) -> bool:
        """Whether transformers has no head of this shape, so that loading it needs decant."""
        return self.hidden is not None or self.one_logit


def register(folder: Path) -> None:
    """Register with transformers the architecture of `folder`, if it is one of decant's own."""
    module = json.loads((folder / "config.json").read_text()).get("architecture_module", "")
    if module.startswith(ARCHITECTURES):  # a file must not make us import anything else
        import_module(module)


def with_head(auto: Any, folder: Path, head: Head, **config: Any) -> PreTrainedModel:
    """The backbone of `folder` under a new head, initialised from the global seed; prints what was loaded.

    `config`: entries of the network's configuration.

    Raises:
        UserError: a file is not as the manifest lists it.
    """
    manifest.verify(folder)
    register(folder)
    if head.custom:
        return mlp_head.with_mlp_head(folder, head.hidden, head.one_logit, **config)
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


def load(folder: Path, modality: Modality) -> tuple[PreTrainedModel, Encoder]:
    """The network, in eval mode, and the encoder of a trained model directory.

    Raises:
        UserError: a file is damaged, or not as the manifest lists it.
        FileNotFoundError: a file is missing.
    """
    manifest.verify(folder)
    with reading_model_directory(folder):
        register(folder)
        network = modality.auto_model().from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        return network.eval(), modality.encoder(folder)


def save(model: PreTrainedModel, processor: Any, folder: Path) -> None:
    """Write an ordinary Hugging Face model directory; equal weights give equal bytes.

    `processor`: the tokenizer or image processor.
    """
    model.config.name_or_path = ""  # otherwise an absolute path of this machine would be saved
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


@torch.inference_mode()
def predict(model: PreTrainedModel, encoder: Encoder, rows: Sequence[Row]) -> np.ndarray:
    """Logits (N, C), float32, of `rows` in their order; computed in full precision on the model's device."""
    model.eval()
    return encoder.apply(rows, lambda inputs: model(**inputs).logits.float(), model.device).numpy()
