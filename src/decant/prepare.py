"""Read the data source, refuse what would spoil an experiment, make missing splits, write Parquet and a card.

python -m decant.prepare [use.data=mine]
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from decant.config.compose import piece, settings
from decant.config.schema import Prepare
from decant.core.errors import UserError
from decant.core.files import read_json, replacing, write_json
from decant.core.hashing import code, sha256
from decant.data import SPLITS, Source
from decant.dataset import modality
from decant.dataset.modality import Modality
from decant.dataset.prepared import PREPARED, SOURCE, check_batches
from decant.experiment import stage
from decant.preparation import splits, text_augmentation
from decant.preparation.cleaning import check_tables, clean, drop_withheld
from decant.pretrain import Pretrain
from decant.task import Tables, Target, Task
from decant.tracking.runs import Run

OUT = PREPARED


@dataclass
class Made:
    """Clean tables of one data source, with the columns row_id, input, target and key (equal: the same input).

    Where an input is two texts, `pair` is the second.
    """

    source: Source
    modality: Modality
    tables: dict[str, pd.DataFrame]
    dropped: dict[str, int]


def main(cfg: DictConfig, tracked: Run) -> None:
    """Write data/prepare/{train,validation,test,unlabelled}.parquet and card.json, and the same in source/."""
    knobs: Prepare = settings(cfg, "prepare")
    task: Task = piece(cfg, "task")
    pretrain: Pretrain = piece(cfg, "pretrain")
    made, originals = complete(piece(cfg, "data"), task, knobs, cfg.seed)
    check_batches(cfg, len(made.tables["train"]), "fine_tune", "distill")
    with replacing(OUT) as folder:
        encoded = write(made, task, folder)
        (folder / SOURCE.name).mkdir()
        if pretrain.needs_source:
            write(source_of(cfg, pretrain, originals), pretrain.task, folder / SOURCE.name)
        else:  # pretrain-load depends on this folder, and DVC keeps no empty one
            write_json(folder / SOURCE.name / "card.json", {"splits": {}})
    facts = read_json(OUT / "card.json")["splits"]
    for split, frame in encoded.items():
        shown = made.modality.shown(made.tables[split])
        frame = frame.assign(input=list(shown), target=frame["target"].astype(str))
        tracked.dataset(frame, split, facts[split]["sha256"])
        print(f"{split}: {len(frame)} rows")
        if mixed := facts[split]["duplicates_with_different_labels"]:
            print(f"{split}: {mixed} inputs stand there with different labels; look through them")
    tracked.artifact(OUT / "card.json")


def complete(source: Source, task: Task, knobs: Prepare, seed: int) -> tuple[Made, Tables]:
    """The clean tables of `source` with all splits; and the same without the changed copies of texts.

    Raises:
        UserError: every problem found.
    """
    made = load(source, task.target)
    made.dropped["labelled_copies"] = splits.make(made.tables, knobs, task.target, seed)
    # dropping leaks and cutting can take the last row of a class
    if problems := check_tables(made.tables, task.target):
        raise UserError(problems)
    originals = dict(made.tables)
    if knobs.copies:
        text_augmentation.add_copies(made.tables, knobs.copies, made.modality, seed)
    return made, originals


def source_of(cfg: DictConfig, pretrain: Pretrain, target: dict[str, pd.DataFrame]) -> Made:
    """Tables of the source task: train and validation, nothing that the target task is tested on.

    Where the labels of the source are used, nothing either that chooses the target's epoch or lost its label there.
    """
    withheld = [target[s] for s in ("test", "validation", "unlabelled") if s in target]
    held = pd.concat(withheld if pretrain.labelled else withheld[:1])
    before = load(piece(cfg, "source"), pretrain.task.target if pretrain.labelled else None)
    for unused in ("test", "unlabelled") if pretrain.labelled else ("test",):
        before.tables.pop(unused, None)
    before.dropped["leaks"] += drop_withheld(before.tables, held, before.source)
    if problems := check_tables(before.tables, pretrain.task.target if pretrain.labelled else None):
        raise UserError([f"the source data: {p}" for p in problems])
    if pretrain.labelled:
        splits.make_validation(before.tables, settings(cfg, "prepare"), pretrain.task.target, cfg.seed)
    else:
        splits.pool(before.tables, settings(cfg, "prepare"), cfg.seed)
    check_batches(cfg, len(before.tables["train"]), "pretrain_load", of=" of the source data")
    return before


def load(source: Source, target: Target | None) -> Made:
    """The clean tables of `source`; without one nothing is asked of the targets.

    Raises:
        UserError: every problem found.
    """
    kind = modality.of(source.size)
    tables = source.load()
    if target is None:
        tables = {s: f.drop(columns="target", errors="ignore") for s, f in tables.items()}
    elif "train" not in tables:
        raise UserError("there is no train split; name its file under train: in conf/data/")
    dropped = clean(tables, source, kind, target)
    return Made(source, kind, tables, dropped)


def write(made: Made, task: Task, folder: Path) -> dict[str, pd.DataFrame]:
    """The tables as later stages read them, and card.json; equal bytes for equal tables."""
    train = made.tables["train"]
    labels = task.target.labels(train["target"]) if "target" in train else []
    encoded = {s: encode(made.tables[s], task, labels) for s in SPLITS if s in made.tables}
    for split, frame in encoded.items():
        frame.to_parquet(folder / f"{split}.parquet", index=False)
    facts = {split: describe(made, task, labels, split, frame, folder) for split, frame in encoded.items()}
    write_json(folder / "card.json", card(made, labels, facts))
    return encoded


def encode(frame: pd.DataFrame, task: Task, labels: list[str]) -> pd.DataFrame:
    """Columns row_id, input, in places pair (as the modality stores them), target (as the task encodes it)."""
    inputs = {c: frame[c] for c in ("input", "pair") if c in frame}
    target = task.target.encode(targets(frame), labels)
    return pd.DataFrame({"row_id": frame["row_id"].astype(str), **inputs, "target": target})


def targets(frame: pd.DataFrame) -> "pd.Series[Any]":
    """Targets as the task read them; null where there are none."""
    return frame["target"] if "target" in frame else pd.Series([None] * len(frame), frame.index, dtype=object)


def card(made: Made, labels: list[str], facts: dict[str, Any]) -> dict[str, Any]:
    """What a person, and every later stage, needs to know of the data."""
    return {
        "labels": labels,
        "size": made.source.size,
        "source": f"{type(made.source).__module__}.{type(made.source).__name__}",
        "code": code(type(made.source)),
        "licence": made.source.licence,
        "dropped": made.dropped,
        "splits": facts,
    }


def describe(
    made: Made, task: Task, labels: list[str], split: str, encoded: pd.DataFrame, folder: Path
) -> dict[str, Any]:
    """Counts, sizes, duplicates and digest of one split."""
    frame = made.tables[split]
    mixed = encoded["target"].astype(str).groupby(list(frame["key"])).nunique() > 1
    return {
        "rows": len(frame),
        **task.target.describe(targets(frame), encoded["target"], labels),
        **made.modality.describe(encoded),
        "duplicates": int(frame["key"].duplicated().sum()),
        "duplicates_with_different_labels": int(mixed.sum()),
        "sha256": sha256(folder / f"{split}.parquet"),
    }


if __name__ == "__main__":
    stage.stage("prepare", main)
