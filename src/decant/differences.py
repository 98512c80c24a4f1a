"""How far two outputs are from each other, file by file: the largest difference of a number in them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
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
    """Of two values: numbers, arrays, or lists and mappings of these."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return max((apart(first[k], second[k]) for k in first), default=0.0)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        return max(map(apart, first, second), default=0.0)
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.dtype.kind not in "biuf" or b.dtype.kind not in "biuf":
        return 0.0 if type(first) is type(second) and bool(np.all(first == second)) else math.inf
    if not a.size:
        return 0.0
    most = float(np.abs(a.astype(float) - b.astype(float)).max())
    return math.inf if math.isnan(most) else most


def _table(frame: pd.DataFrame) -> dict[str, Any]:
    return {str(name): [_plain(v) for v in column] for name, column in frame.items()}


def _plain(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _weights(file: Path) -> dict[str, Any]:
    graph = onnx.load(file).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # what is quantised moves with its zero point, which says nothing; the file's predictions lie beside it
    whole = {name: a for name, a in arrays.items() if a.dtype.itemsize > 1}
    return whole | {"nodes": [node.op_type for node in graph.node]}


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": load_file,
    ".json": lambda file: json.loads(file.read_text("utf-8")),
    ".parquet": lambda file: _table(pd.read_parquet(file)),
    ".csv": lambda file: _table(pd.read_csv(file)),
    ".onnx": _weights,
}
"""By the ending of a file's name; what is not here has no numbers to compare."""
