"""Opens a model directory: the one place that `decant predict`, `decant serve` and a logged model come through.

The files are checked against the manifest of the folder before any of them is read.
"""

from importlib import import_module
from pathlib import Path

import numpy as np

from decant.core import manifest
from decant.core.errors import UserError
from decant.serving.model_formats import ModelFormat, exported_formats
from decant.serving.predictor import OnnxPredictor, Predictor
from decant.serving.preprocessing import Arrays
from decant.serving.settings import EXPECTED_FOLDER, read_json

WEIGHTS_FILE = "model.safetensors"


def open_predictor(folder: Path, model_format: ModelFormat | None = None, threads: int | None = None) -> Predictor:
    """The predictor of a model directory: ONNX Runtime if it holds ONNX files, else PyTorch.

    Args:
        folder: such as `data/distill`, or without ONNX files, such as a teacher or a control.
        model_format: of the ONNX file; default: the preferred one.
        threads: per forward pass of ONNX Runtime; default: one per core.

    Raises:
        UserError: the folder lacks files, or they are damaged.
    """
    if model_format or exported_formats(folder) or not (folder / WEIGHTS_FILE).is_file():
        return OnnxPredictor(folder, model_format, threads)
    return torch_predictor(folder)


def torch_predictor(folder: Path) -> Predictor:
    """A predictor for a model directory without ONNX files."""
    import torch  # optional: not installed where only ONNX files are served
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification, AutoTokenizer

    manifest.verify(folder)
    module = read_json(folder / "config.json").get("architecture_module", "")
    if module.startswith(("decant.backbone.", "decant.models.")):
        import_module(module)  # registers an architecture that transformers does not know
    images = (folder / "preprocessor_config.json").exists()
    auto_class = AutoModelForImageClassification if images else AutoModelForSequenceClassification
    try:
        network = auto_class.from_pretrained(folder, dtype=torch.float32, use_safetensors=True).eval()
        input_names = () if images else AutoTokenizer.from_pretrained(folder).model_input_names
    except Exception as error:  # of damaged files the libraries raise many classes
        raise UserError(f"{folder} cannot be read ({error}); {EXPECTED_FOLDER}") from error

    @torch.inference_mode()
    def forward(arrays: Arrays) -> np.ndarray:
        return network(**{k: torch.from_numpy(v) for k, v in arrays.items()}).logits.numpy()

    return Predictor(folder, forward, input_names)
