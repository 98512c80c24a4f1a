"""How far two outputs are apart, file by file: the largest difference of a number in them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import load_file


def by_file(first: Path, second: Path) -> dict[str, float]:
    """{file: largest difference} of two files, or of all files in two folders.

    Infinite: something else than a number differs.
    """
    if not first.is_dir():
        return {first.name: file_difference(first, second)}
    names = sorted({str(f.relative_to(top)) for top in (first, second) for f in top.rglob("*") if f.is_file()})
    return {name: file_difference(first / name, second / name) for name in names}


def file_difference(first: Path, second: Path) -> float:
    """The largest difference of a number in two files."""
    if not first.exists() or not second.exists():
        return math.inf
    if first.read_bytes() == second.read_bytes():
        return 0.0
    read = READERS.get(second.suffix)
    return value_difference(read(first), read(second)) if read else math.inf


def value_difference(first: object, second: object) -> float:
    """The largest difference of two numbers, arrays, or lists and mappings of these; of arrays, see there."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return max((value_difference(first[k], second[k]) for k in first), default=0.0)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        return max(map(value_difference, first, second), default=0.0)
    if isinstance(first, dict | list | tuple) or isinstance(second, dict | list | tuple):
        return math.inf
    return array_difference(first, second)


def array_difference(first: object, second: object) -> float:
    """The largest absolute difference of two arrays, relative to the largest number in the first; of scalars, absolute.

    Values that are no numbers have to be equal.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes():
        return 0.0
    if not is_numeric(a) and not is_numeric(b):
        return 0.0 if type(first) is type(second) and first == second else math.inf
    if a.shape != b.shape or not is_numeric(a) or not is_numeric(b):
        return math.inf
    scale = float(np.abs(a).max()) or 1.0 if a.ndim else 1.0
    difference = float(np.abs(a.astype(np.longdouble) - b.astype(np.longdouble)).max()) / scale
    return math.inf if math.isnan(difference) else difference


def is_numeric(array: np.ndarray) -> bool:
    """Whether an array holds booleans, integers or floats."""
    return array.dtype.kind in "biuf"


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    return {str(name): [_comparable(value) for value in column] for name, column in frame.items()}


def _comparable(value: object) -> Any:
    """NaN and infinity as text: they are equal to themselves only there."""
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _read_parquet(file: Path) -> dict[str, Any]:
    metadata = json.loads((pq.read_schema(file).metadata or {}).get(b"decant", b"{}"))
    # other weights have another digest
    facts = {k: v for k, v in metadata.items() if k not in ("model", "preprocessing")}
    return _columns(pd.read_parquet(file)) | {"": facts}


def _read_onnx(file: Path) -> dict[str, Any]:
    """The weights, dequantised, and the rest of the graph as bytes."""
    graph = onnx.load(file).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {name: _dequantise(name, array, arrays) for name, array in arrays.items() if "zero_point" not in name}
    graph.ClearField("initializer")
    return {**weights, "": graph.SerializeToString()}


def _dequantise(name: str, array: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The real values of an 8-bit array by its scale and zero point, per channel if it has several."""
    scale, zero = (arrays.get(f"{name.removesuffix('_quantized')}_{part}") for part in ("scale", "zero_point"))
    if array.dtype.itemsize > 1 or scale is None or zero is None:
        return array
    axis = next((i for i, size in enumerate(array.shape) if size == scale.size), 0)
    shape = [scale.size if i == axis else 1 for i in range(array.ndim)] if scale.size > 1 else [1] * array.ndim
    return (array.astype(float) - zero.astype(float).reshape(shape)) * scale.reshape(shape)


def _read_image(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"), float)


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": load_file,
    ".json": lambda file: json.loads(file.read_text("utf-8")),
    ".parquet": _read_parquet,
    ".csv": lambda file: _columns(pd.read_csv(file)),
    ".onnx": _read_onnx,
    ".png": _read_image,
}
"""By the suffix of a file name; other files are not measured."""
