"""The ONNX files of a model directory, one for each exported format.

Imports neither NumPy nor ONNX Runtime: the command line reads the names of the formats from here.
"""

from pathlib import Path
from typing import Literal, get_args

from decant.core.errors import UserError

ModelFormat = Literal["int8", "onnx"]
"""Sub-folders of a model directory that may hold an `ONNX_FILE`: 8-bit integers, and fp32."""
MODEL_FORMATS: tuple[ModelFormat, ...] = get_args(ModelFormat)
"""In the order of preference."""
ONNX_FILE = "model.onnx"


def exported_formats(folder: Path) -> list[ModelFormat]:
    """The formats that a model directory holds, in the order of preference."""
    return [name for name in MODEL_FORMATS if (folder / name / ONNX_FILE).is_file()]


def onnx_file(folder: Path, model_format: ModelFormat | None = None) -> Path:
    """The ONNX file of a format; None: of the preferred format.

    Raises:
        UserError: the model directory holds no such file.
    """
    available = exported_formats(folder)
    if not available:
        expected = ", ".join(f"{name}/{ONNX_FILE}" for name in MODEL_FORMATS)
        raise UserError(f"{folder} holds neither of {expected}; run dvc repro")
    if model_format not in (None, *available):
        raise UserError(f"{folder} holds no {model_format}/{ONNX_FILE}; choose among {', '.join(available)}")
    return folder / (model_format or available[0]) / ONNX_FILE
