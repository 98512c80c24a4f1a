"""Predictions: a model's logits on every row, keyed by (split, row_id), with digests of the data and the model.

Written once, by the stage that trained the model. Distillation reads its soft targets from them and evaluate its paired
tests, so that no model runs twice.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from decant.core import manifest
from decant.core.errors import UserError
from decant.core.hashing import sha256
from decant.dataset.prepared import Prepared
from decant.models.logits_storage import EXACT, Storage, from_columns, to_columns

FILE = "predictions.parquet"
MODEL_FILES = ("model.safetensors", "model.onnx", "config.json")
PREPROCESSING_FILES = ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json")
FOLDS_FILE = "folds.parquet"
"""Columns row_id and fold: the fold of train that a row is in; the model of that fold was not trained on it."""
REMEDY = "run: dvc repro, or by hand this stage and the later ones; for another experiment, make them there again"


def write(
    folder: Path,
    logits: Mapping[str, tuple[Sequence[str], np.ndarray]],
    digests: Mapping[str, str],
    storage: Storage = EXACT,
) -> None:
    """Write predictions.parquet: {split: (row ids, logits (N, C))}, keyed by (split, row_id).

    The file also holds `digests`, {split: sha256 of its table}, because a row id alone may be a position in a file; and
    the digests of the model and the preprocessing in `folder`.
    """
    frames = [
        pd.DataFrame({"split": split, "row_id": list(ids), **to_columns(values, split, storage)})
        for split, (ids, values) in sorted(logits.items())
    ]
    table = pa.Table.from_pandas(pd.concat(frames), preserve_index=False)
    metadata = {
        "data": {split: digests[split] for split in sorted(logits)},
        "classes": next(iter(logits.values()))[1].shape[1],
        **model_digests(folder),
    }
    pq.write_table(table.replace_schema_metadata({"decant": json.dumps(metadata)}), folder / FILE)


def read(folder: Path, split: str, row_ids: Sequence[str], digest: str) -> np.ndarray:
    """Logits (N, C), float32, of the rows `row_ids` of a split, in that order. `digest`: sha256 of the split's table.

    Raises:
        OSError: the folder has no predictions.
        UserError: see `verify`; or a row is missing, or there twice.
    """
    classes = verify(folder, split, digest)
    file = folder / FILE
    frame = pd.read_parquet(file, filters=[("split", "==", split)])
    position = dict(zip(frame["row_id"], range(len(frame)), strict=True))
    if len(position) < len(frame) or not set(row_ids) <= set(position):
        raise UserError(f"{file} does not hold each row of {split} once; {REMEDY}")
    return from_columns(frame, classes)[[position[i] for i in row_ids]]


def read_split(folder: Path, split: str, prepared: Prepared) -> np.ndarray:
    """Logits (N, C) of a split, in the order of its table; see `read`."""
    return read(folder, split, prepared.ids(split), prepared.digests[split])


def verify(folder: Path, split: str, digest: str) -> int:
    """The number of logits of a row in the predictions in `folder`.

    Raises:
        OSError: the folder has no predictions.
        UserError: the predictions are damaged, not as the manifest lists them, or lack the split; or they belong to a
            table with another digest, or to another model or preprocessing than the folder holds now.
    """
    file = folder / FILE
    manifest.verify_file(file)
    with file.open("rb") as opened:  # pyarrow's own error does not name the file
        try:
            metadata = json.loads((pq.read_schema(opened).metadata or {}).get(b"decant", b"{}"))
        except pa.ArrowException as error:
            raise UserError(f"{file} is damaged ({error}); {REMEDY}") from error
    if split not in metadata.get("data", {}):
        raise UserError(f"{file} has no predictions on {split}; {REMEDY}")
    if metadata["data"][split] != digest:
        raise UserError(f"{file} was made from other {split} data than data/prepare holds now; {REMEDY}")
    for kind, current in model_digests(folder).items():
        if current and metadata[kind] and metadata[kind] != current:
            raise UserError(f"{file} was made by another {kind} than {folder} holds now; {REMEDY}")
    return int(metadata["classes"])


def model_digests(folder: Path) -> dict[str, str]:
    """Digests of the model and of the preprocessing in a folder, over all members of an ensemble; "" where missing."""
    kinds = {"model": MODEL_FILES, "preprocessing": PREPROCESSING_FILES}
    members = ensemble_members(folder)
    return {kind: _digest([member / f for member in members for f in files]) for kind, files in kinds.items()}


def ensemble_members(folder: Path) -> list[Path]:
    """The model directories in `folder`: one for each fold or seed of an ensemble, or `folder` itself."""
    members = [f for f in folder.glob("*_*/") if re.fullmatch(r"(fold|seed)_\d+", f.name)]
    return sorted(members, key=lambda f: int(f.name.partition("_")[2])) or [folder]


def _digest(files: Sequence[Path]) -> str:
    """sha256 over the digests of the files that exist; "" if none does."""
    digests = [sha256(f) for f in files if f.exists()]
    return hashlib.sha256("".join(digests).encode()).hexdigest() if digests else ""
