"""How logits are stored in the columns of a table, exactly or in less space."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

SOFT_TARGET_SPLITS = ("train", "unlabelled")
"""Splits whose logits serve only as soft targets, and may be stored in less space; those of others are scored."""


@dataclass(frozen=True)
class Storage:
    """How the logits of `SOFT_TARGET_SPLITS` are stored."""

    dtype: str = "float32"
    """`float32` or `float16`."""
    top_k: int | None = None
    """Of each row only the largest logits, so many, and one mean of the others; None: all logits."""


EXACT = Storage()


def to_columns(logits: np.ndarray, split: str, storage: Storage) -> dict[str, list[Any]]:
    """The columns for logits (N, C) of a split.

    `logits`; or `half`, in half precision. With `top_k`, `places` holds the classes (N, K) of the first K values, and
    the last value stands for each of the other classes: together they keep their probability.
    """
    if split not in SOFT_TARGET_SPLITS or storage == EXACT:
        return {"logits": list(logits)}
    columns: dict[str, list[Any]] = {}
    if storage.top_k is not None and storage.top_k < logits.shape[1] - 1:
        order = np.argsort(-logits, axis=1, kind="stable")
        classes, other_classes = order[:, : storage.top_k], order[:, storage.top_k :]
        others = np.take_along_axis(logits, other_classes, 1).astype(np.float64)
        mean = np.logaddexp.reduce(others, axis=1, keepdims=True) - np.log(others.shape[1])
        logits = np.concatenate([np.take_along_axis(logits, classes, 1), mean.astype(np.float32)], axis=1)
        columns["places"] = list(classes.astype(np.int32))
    if storage.dtype == "float16":
        limit = np.finfo(np.float16).max
        return columns | {"half": list(logits.clip(-limit, limit).astype(np.float16))}
    return columns | {"logits": list(logits)}


def from_columns(frame: pd.DataFrame, classes: int) -> np.ndarray:
    """Logits (N, C), float32, from the columns of `to_columns`."""
    half = "half" in frame and frame["half"].notna().all()
    values = np.stack(frame["half" if half else "logits"].to_list()).astype(np.float32)
    if "places" not in frame or frame["places"].isna().any():
        return values
    logits = np.repeat(values[:, -1:], classes, axis=1)
    np.put_along_axis(logits, np.stack(frame["places"].to_list()), values[:, :-1], axis=1)
    return logits
