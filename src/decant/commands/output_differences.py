"""How far two outputs are from each other, file by file: the largest difference of a number in them."""

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


def of(first: Path, second: Path) -> dict[str, float]:
    """{file: difference} of two files, or of all in two folders; infinite: something else than a number differs."""
    if not first.is_dir():
        return {first.name: distance(first, second)}
    names = sorted({str(f.relative_to(top)) for top in (first, second) for f in top.rglob("*") if f.is_file()})
    return {name: distance(first / name, second / name) for name in names}


def distance(first: Path, second: Path) -> float:
    """Of two files."""
    if not first.exists() or not second.exists():
        return math.inf
    if first.read_bytes() == second.read_bytes():
        return 0.0
    read = READERS.get(second.suffix)
    return apart(read(first), read(second)) if read else math.inf


def apart(first: Any, second: Any) -> float:
    """Of two values: numbers, arrays, or lists and mappings of these; of arrays, relative to their largest number."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return max((apart(first[k], second[k]) for k in first), default=0.0)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        return max(map(apart, first, second), default=0.0)
    if isinstance(first, dict | list | tuple) or isinstance(second, dict | list | tuple):
        return math.inf
    a, b = np.asarray(first), np.asarray(second)
    if a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes():
        return 0.0
    if a.shape != b.shape or a.dtype.kind not in "biuf" or b.dtype.kind not in "biuf":
        return 0.0 if a.dtype.kind not in "biuf" and type(first) is type(second) and first == second else math.inf
    scale = float(np.abs(a).max()) or 1.0 if a.ndim else 1.0
    most = float(np.abs(a.astype(np.longdouble) - b.astype(np.longdouble)).max()) / scale
    return math.inf if math.isnan(most) else most


def _table(frame: pd.DataFrame) -> dict[str, Any]:
    return {str(name): [_plain(v) for v in column] for name, column in frame.items()}


def _parquet(file: Path) -> dict[str, Any]:
    facts = json.loads((pq.read_schema(file).metadata or {}).get(b"decant", b"{}"))
    # other weights have another digest
    return _table(pd.read_parquet(file)) | {"": {k: v for k, v in facts.items() if k not in ("model", "preprocessing")}}


def _plain(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _onnx(file: Path) -> dict[str, Any]:
    """Weights, those in 8 bits by what they stand for, and all else that is in the graph."""
    graph = onnx.load(file).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {name: _meant(name, array, arrays) for name, array in arrays.items() if "zero_point" not in name}
    graph.ClearField("initializer")
    return {**weights, "": graph.SerializeToString()}


def _meant(name: str, array: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """What an array in 8 bits stands for, by its scale and zero point, of each channel, where they have several."""
    scale, zero = (arrays.get(f"{name.removesuffix('_quantized')}_{part}") for part in ("scale", "zero_point"))
    if array.dtype.itemsize > 1 or scale is None or zero is None:
        return array
    axis = next((i for i, size in enumerate(array.shape) if size == scale.size), 0)
    shape = [scale.size if i == axis else 1 for i in range(array.ndim)] if scale.size > 1 else [1] * array.ndim
    return (array.astype(float) - zero.astype(float).reshape(shape)) * scale.reshape(shape)


def _picture(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"), float)


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": load_file,
    ".json": lambda file: json.loads(file.read_text("utf-8")),
    ".parquet": _parquet,
    ".csv": lambda file: _table(pd.read_csv(file)),
    ".onnx": _onnx,
    ".png": _picture,
}
"""By the ending of a file's name; what is not here is not measured."""
