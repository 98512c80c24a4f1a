"""Read the data source, refuse what would spoil an experiment, make missing splits, write Parquet and a card.

python -m decant.prepare [use.data=mine]
"""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from sklearn.model_selection import train_test_split

from decant import UserError, run
from decant.config import Prepare, piece, settings
from decant.data import SPLITS, Source
from decant.tracking import Run

OUT = Path("data/prepare")
PRIORITY = ("test", "validation", "train", "unlabelled")
"""Which copy of a leaked input stays: the first of these."""


def main(cfg: DictConfig, tracked: Run) -> None:
    """Write data/prepare/{train,validation,test,unlabelled}.parquet and card.json."""
    source: Source = piece(cfg, "data")
    tables = source.load()
    dropped = clean(tables, source)
    if "unlabelled" in tables and tables["unlabelled"].empty:
        del tables["unlabelled"]
    make_splits(tables, settings(cfg, "prepare"), cfg.seed)
    # dropping leaks and cutting can take the last row of a class
    if problems := check_classes(tables):
        raise UserError(problems)
    labels = sorted(tables["train"]["target"].unique())
    tables = {s: encode(tables[s], labels) for s in SPLITS if s in tables}
    with run.replacing(OUT) as folder:
        for split, frame in tables.items():
            frame.to_parquet(folder / f"{split}.parquet", index=False)
        run.write_json(folder / "card.json", card(tables, labels, dropped, source, folder))
    for split, frame in tables.items():
        tracked.dataset(frame.assign(target=[labels[i] if i >= 0 else "" for i in frame["target"]]), split)
        print(f"{split}: {len(frame)} rows")
    tracked.artifact(OUT / "card.json")


def clean(tables: dict[str, pd.DataFrame], source: Source) -> dict[str, int]:
    """Check all tables in place and drop what `source` allows to drop; return how many rows went.

    Raises:
        UserError: every problem found, each with counts and examples.
    """
    problems: list[str] = []
    dropped = {"empty": 0, "leaks": 0}
    for split, frame in tables.items():
        problems += check_ids(split, frame)
        problems += check_targets(split, frame) if split != "unlabelled" else []
        empty = normalised(frame["input"]) == ""
        if empty.any() and source.empty == "refuse":
            problems.append(
                f"{split} has {empty.sum()} rows with an empty input (first: {frame['row_id'][empty].iloc[0]}); "
                "fill or remove them, or set empty: drop (or keep) in conf/data/"
            )
        elif source.empty == "drop":
            dropped["empty"] += int(empty.sum())
            tables[split] = frame[~empty].reset_index(drop=True)
        tables[split] = tables[split].assign(input=tables[split]["input"].fillna("").astype(str))
    if not problems:
        problems = check_classes(tables) + check_rare(tables["train"])
    found = leaks(tables)
    if found and source.leaks == "refuse":
        problems += [f"{n} inputs of {b} stand in {a} too, for example {text!r}; remove one copy, or set "
                     "leaks: drop in conf/data/" for (a, b), (n, text) in found.items()]  # fmt: skip
    if problems:
        raise UserError(problems)
    if found:
        dropped["leaks"] = drop_leaks(tables)
    return dropped


def normalised(inputs: "pd.Series[Any]") -> "pd.Series[str]":
    """Inputs as compared for duplicates: without case, Unicode form and white space differences."""
    return (
        inputs.fillna("").astype(str).map(lambda text: " ".join(unicodedata.normalize("NFKC", text).casefold().split()))
    )


def check_ids(split: str, frame: pd.DataFrame) -> list[str]:
    """Problems with `row_id`."""
    twice = frame["row_id"][frame["row_id"].duplicated()]
    if twice.empty:
        return []
    return [
        f"{split} has {len(twice)} duplicate ids (first: {twice.iloc[0]!r}); ids must be unique: "
        "correct the column, or leave row_id: out of the yaml to number the rows"
    ]


def check_targets(split: str, frame: pd.DataFrame) -> list[str]:
    """Problems with the labels of one split."""
    null = frame["target"].isna() | (frame["target"].astype(str).str.strip() == "")
    problems = []
    if null.any():
        problems.append(
            f"{split} has {null.sum()} rows without a label (first: {frame['row_id'][null].iloc[0]}); label "
            "them, or move them to a file named under unlabelled: in conf/data/"
        )
    if frame[~null].empty:
        problems.append(f"{split} has no labelled rows; expected at least two classes")
    frame["target"] = frame["target"].where(~null).astype("string")
    return problems


def check_rare(train: pd.DataFrame) -> list[str]:
    """Problems with the size of the classes, before validation is cut off."""
    counts = train["target"].value_counts()
    if not (rare := sorted(counts[counts < 2].index)):
        return []
    return [
        f"train has one row of {', '.join(map(repr, rare))}; expected two or more of each class, one to "
        "learn from and one to validate on: add rows or remove the class"
    ]


def check_classes(tables: dict[str, pd.DataFrame]) -> list[str]:
    """Problems with the set of classes, over all splits."""
    if bare := [s for s in tables if s != "unlabelled" and tables[s].empty]:
        return [f"{', '.join(bare)} has no rows left after dropping empty inputs and leaks; give it other rows"]
    counts = tables["train"]["target"].value_counts()
    problems = []
    if len(counts) < 2:
        problems.append(f"train has the single class {counts.index[0]!r}; expected at least two")
    for split in ("validation", "test"):
        if split in tables and (new := sorted(set(tables[split]["target"]) - set(counts.index))):
            problems.append(
                f"{split} has classes that train lacks: {', '.join(map(repr, new))}; no model can learn them: "
                "add rows to train or remove them"
            )
    return problems


def leaks(tables: dict[str, pd.DataFrame]) -> dict[tuple[str, str], tuple[int, str]]:
    """Pairs of splits that share inputs: {(kept, leaking): (rows, example)}; empty inputs do not count."""
    keys = {s: normalised(tables[s]["input"]) for s in PRIORITY if s in tables}
    found = {}
    for i, first in enumerate(keys):
        for second in list(keys)[i + 1 :]:
            shared = keys[second].isin(set(keys[first]) - {""})
            if shared.any():
                found[first, second] = int(shared.sum()), tables[second]["input"][shared].iloc[0]
    return found


def drop_leaks(tables: dict[str, pd.DataFrame]) -> int:
    """Remove, in place, every row whose input stands in a split of higher `PRIORITY`."""
    seen: set[str] = set()
    dropped = 0
    for split in (s for s in PRIORITY if s in tables):
        keys = normalised(tables[split]["input"])
        leaking = keys.isin(seen - {""})
        dropped += int(leaking.sum())
        tables[split] = tables[split][~leaking].reset_index(drop=True)
        seen |= set(keys)
    return dropped


def make_splits(tables: dict[str, pd.DataFrame], knobs: Prepare, seed: int) -> None:
    """Cut test and validation off train where they are missing: stratified, seeded, copies kept together."""
    for split in ("test", "validation"):
        if split not in tables:
            tables["train"], tables[split] = cut(tables["train"], getattr(knobs, split), split, seed)


def cut(train: pd.DataFrame, share: float, split: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rest, cut-off part) of about `share` of the rows; equal inputs land on one side.

    Raises:
        UserError: too few rows for one of each class on both sides.
    """
    keys = normalised(train["input"])
    keys = keys.where(keys != "", train["row_id"])
    groups = train.assign(key=keys).drop_duplicates("key")
    size = max(round(share * len(groups)), groups["target"].nunique())
    try:
        _, part = train_test_split(groups["key"], test_size=size, stratify=groups["target"], random_state=seed)
    except ValueError as error:
        counts = groups["target"].value_counts()
        raise UserError(
            f"{split} cannot be cut off train ({len(groups)} different inputs, {len(counts)} classes, the "
            f"smallest, {counts.index[-1]!r}, with {counts.iloc[-1]}): {error}; add rows, or give the split as a file"
        ) from error
    chosen = keys.isin(set(part))
    return train[~chosen].reset_index(drop=True), train[chosen].reset_index(drop=True)


def encode(frame: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Columns row_id, input, target (index into `labels`; -1: no label)."""
    index = {label: i for i, label in enumerate(labels)}
    target = frame["target"].map(index).fillna(-1) if "target" in frame else np.full(len(frame), -1)
    return pd.DataFrame(
        {
            "row_id": frame["row_id"].astype(str),
            "input": frame["input"].astype(str),
            "target": np.asarray(target, dtype=np.int64),
        }
    )


def card(
    tables: dict[str, pd.DataFrame], labels: list[str], dropped: dict[str, int], source: Source, folder: Path
) -> dict[str, Any]:
    """What a person, and every later stage, needs to know of the data."""
    return {
        "labels": labels,
        "source": f"{type(source).__module__}.{type(source).__name__}",
        "code": run.code(source),
        "licence": source.licence,
        "dropped": dropped,
        "splits": {s: describe(f, labels, folder / f"{s}.parquet") for s, f in tables.items()},
    }


def describe(frame: pd.DataFrame, labels: list[str], file: Path) -> dict[str, Any]:
    """Counts, lengths in words, duplicates and digest of one split."""
    words = [len(text.split()) for text in frame["input"]]
    keys = normalised(frame["input"])
    mixed = frame.groupby(keys)["target"].nunique() > 1
    return {
        "rows": len(frame),
        "classes": {label: int((frame["target"] == i).sum()) for i, label in enumerate(labels)},
        "words": {f"p{q}": float(np.percentile(words, q)) for q in (0, 50, 95, 100)},
        "duplicates": int(keys.duplicated().sum()),
        "duplicates_with_different_labels": int(mixed.sum()),
        "sha256": run.sha256(file),
    }


if __name__ == "__main__":
    run.stage("prepare", main)
