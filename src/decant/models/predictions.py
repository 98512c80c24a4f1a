"""Predictions: a model's logits on every row, keyed by (split, row_id), with what they are of.

Written once by the stage that made the model; soft targets and paired tests read them, so no model runs twice.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from decant.core.errors import UserError
from decant.core.hashing import sha256
from decant.dataset.prepared import Prepared

FILE = "predictions.parquet"
SOFT = ("train", "unlabelled")
"""Splits whose logits are soft targets alone; those of the others are scored."""
MODEL = ("model.safetensors", "model.onnx", "config.json")
ENCODER = ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json")
FOLDS_FILE = "folds.parquet"
"""Columns row_id and fold: which part of train a row is in, so which model did not see it."""
AGAIN = "run: dvc repro, or by hand the stages from there on; or make those of another experiment again"


@dataclass(frozen=True)
class Storage:
    """How soft targets are stored: `half` precision; of each row the `top` largest and the mean of the others."""

    half: bool = False
    top: int | None = None


def write(
    folder: Path,
    logits: Mapping[str, tuple[Sequence[str], np.ndarray]],
    digests: Mapping[str, str],
    storage: Storage = Storage(),
) -> None:
    """Write predictions.parquet: {split: (row ids, logits (N, C))}, keyed by (split, row_id).

    It says which data they are of (`digests`: {split: sha256}; a row id alone may be a position in a file) and which
    model and preprocessing made them: those in `folder`.
    """
    frames = [
        pd.DataFrame({"split": split, "row_id": list(ids), **columns(values, split, storage)})
        for split, (ids, values) in sorted(logits.items())
    ]
    table = pa.Table.from_pandas(pd.concat(frames), preserve_index=False)
    classes = next(iter(logits.values()))[1].shape[1]
    known = {split: digests[split] for split in sorted(logits)}
    facts = {"data": known, "classes": classes, **made_by(folder)}
    pq.write_table(table.replace_schema_metadata({"decant": json.dumps(facts)}), folder / FILE)


def columns(values: np.ndarray, split: str, storage: Storage) -> dict[str, list[Any]]:
    """Logits (N, C) as they are stored: `logits`; or `half`, in half precision; and `places`, where some are left out.

    Where some are, the last value stands for each of the others: together they have the probability that they had.
    """
    if split not in SOFT or storage == Storage():
        return {"logits": list(values)}
    found: dict[str, list[Any]] = {}
    if storage.top is not None and storage.top < values.shape[1] - 1:
        order = np.argsort(-values, axis=1, kind="stable")
        top, rest = (np.take_along_axis(values, part, 1) for part in (order[:, : storage.top], order[:, storage.top :]))
        others = np.logaddexp.reduce(rest.astype(np.float64), axis=1, keepdims=True) - np.log(rest.shape[1])
        values = np.concatenate([top, others.astype(np.float32)], axis=1)
        found["places"] = list(order[:, : storage.top].astype(np.int32))
    if storage.half:
        limit = np.finfo(np.float16).max
        return found | {"half": list(values.clip(-limit, limit).astype(np.float16))}
    return found | {"logits": list(values)}


def read(folder: Path, split: str, row_ids: Sequence[str], digest: str) -> np.ndarray:
    """Logits (N, C), float32, that `folder` holds for `row_ids` of a split, in that order.

    Raises:
        UserError: see `verify`; or they do not hold each row once.
    """
    classes = verify(folder, split, digest)
    file = folder / FILE
    frame = pd.read_parquet(file, filters=[("split", "==", split)])
    position = dict(zip(frame["row_id"], range(len(frame)), strict=True))
    if len(position) < len(frame) or not set(row_ids) <= set(position):
        raise UserError(f"{file} does not hold each row of {split} once; {AGAIN}")
    return whole(frame, classes)[[position[i] for i in row_ids]]


def verify(folder: Path, split: str, digest: str) -> int:
    """The number of logits of each prediction that `folder` holds for a split.

    Raises:
        OSError: there are no predictions.
        UserError: they are damaged; there are none on this split, or of other data than that of `digest`, or of another
            model or preprocessing than lies beside them.
    """
    file = folder / FILE
    with file.open("rb") as opened:  # pyarrow's own error does not name the file
        try:
            facts = json.loads((pq.read_schema(opened).metadata or {}).get(b"decant", b"{}"))
        except pa.ArrowException as error:
            raise UserError(f"{file} is damaged ({error}); {AGAIN}") from error
    if split not in facts.get("data", {}):
        raise UserError(f"{file} has no predictions on {split}; {AGAIN}")
    if facts["data"][split] != digest:
        raise UserError(f"{file} was made from other {split} data than data/prepare holds now; {AGAIN}")
    for what, found in made_by(folder).items():
        if found and facts[what] and facts[what] != found:
            raise UserError(f"{file} was made by another {what} than lies in {folder} now; {AGAIN}")
    return int(facts["classes"])


def whole(frame: pd.DataFrame, classes: int) -> np.ndarray:
    """Logits (N, C) from what `columns` made of them."""
    half = "half" in frame and frame["half"].notna().all()
    values = np.stack(frame["half" if half else "logits"].to_list()).astype(np.float32)
    if "places" not in frame or frame["places"].isna().any():
        return values
    found = np.repeat(values[:, -1:], classes, axis=1)
    np.put_along_axis(found, np.stack(frame["places"].to_list()), values[:, :-1], axis=1)
    return found


def made_by(folder: Path) -> dict[str, str]:
    """Digests of the model (all of them, where there are several) and preprocessing in a folder; empty: none."""
    kinds = {"model": MODEL, "preprocessing": ENCODER}
    return {kind: digest([m / f for m in members(folder) for f in files]) for kind, files in kinds.items()}


def members(folder: Path) -> list[Path]:
    """The model directories in `folder`: one for each fold or seed, or itself."""
    several = [f for f in folder.glob("*_*/") if re.fullmatch(r"(fold|seed)_\d+", f.name)]
    return sorted(several, key=lambda f: int(f.name.partition("_")[2])) or [folder]


def digest(files: Sequence[Path]) -> str:
    """sha256 over the digests of those that are there; empty: none is."""
    there = [sha256(f) for f in files if f.exists()]
    return hashlib.sha256("".join(there).encode()).hexdigest() if there else ""


def stored(folder: Path, split: str, prepared: Prepared) -> np.ndarray:
    """Logits (N, C) that a folder holds for a split, in the order of its table."""
    return read(folder, split, prepared.ids(split), prepared.digests[split])
