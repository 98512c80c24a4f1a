"""The files that `prepare` writes: a Parquet table per split, and card.json."""

from pathlib import Path
from typing import Any

import pandas as pd

from decant.core.files import write_json
from decant.core.hashing import code_digest, sha256
from decant.data import SPLITS
from decant.preparation.similar_labels import similar_labels
from decant.preparation.source_tables import SourceTables
from decant.task import Target


def write_prepared(tables: SourceTables, target: Target, folder: Path) -> dict[str, pd.DataFrame]:
    """Write the tables as later stages read them, and card.json; equal bytes for equal tables. Returns the tables."""
    train = tables.tables["train"]
    labels = target.labels(train["target"]) if "target" in train else []
    encoded = {split: encode(tables.tables[split], target, labels) for split in SPLITS if split in tables.tables}
    for split, frame in encoded.items():
        frame.to_parquet(folder / f"{split}.parquet", index=False)
    splits = {split: describe(tables, target, labels, split, frame, folder) for split, frame in encoded.items()}
    write_json(folder / "card.json", card(tables, labels, splits))
    return encoded


def encode(frame: pd.DataFrame, target: Target, labels: list[str]) -> pd.DataFrame:
    """Columns row_id, input, for some data pair (as the modality stores them), target (as `target` encodes it)."""
    inputs = {c: frame[c] for c in ("input", "pair") if c in frame}
    encoded = target.encode(targets(frame), labels)
    return pd.DataFrame({"row_id": frame["row_id"].astype(str), **inputs, "target": encoded})


def targets(frame: pd.DataFrame) -> "pd.Series[Any]":
    """Targets as they were parsed; null where there are none."""
    return frame["target"] if "target" in frame else pd.Series([None] * len(frame), frame.index, dtype=object)


def card(tables: SourceTables, labels: list[str], splits: dict[str, Any]) -> dict[str, Any]:
    """What a person, and every later stage, needs to know about the data."""
    source = type(tables.source)
    similar = similar_labels(labels)
    return {
        "labels": labels,
        "size": tables.source.size,
        "source": f"{source.__module__}.{source.__name__}",
        "code": code_digest(source),
        "licence": tables.source.licence,
        "dropped": tables.dropped,
        "splits": splits,
        **({"similar_labels": similar} if similar else {}),
    }


def describe(
    tables: SourceTables, target: Target, labels: list[str], split: str, encoded: pd.DataFrame, folder: Path
) -> dict[str, Any]:
    """Counts, sizes, duplicates and digest of one split."""
    frame = tables.tables[split]
    inconsistent = encoded["target"].astype(str).groupby(list(frame["key"])).nunique() > 1
    return {
        "rows": len(frame),
        **target.describe(targets(frame), encoded["target"], labels),
        **tables.modality.describe(encoded),
        "duplicates": int(frame["key"].duplicated().sum()),
        "duplicates_with_different_labels": int(inconsistent.sum()),
        "sha256": sha256(folder / f"{split}.parquet"),
    }
