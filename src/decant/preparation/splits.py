"""Splits that a data source lacks: cut off train, stratified, seeded, copies of an input on one side."""

import pandas as pd
from sklearn.model_selection import train_test_split

from decant.config.schema import Prepare
from decant.core.errors import UserError
from decant.preparation.cleaning import check_ids
from decant.task import Tables, Target


def make(tables: Tables, settings: Prepare, target: Target, seed: int) -> int:
    """Cut test off train, take labels away (`labels_per_class`), cut validation off what is left; in place.

    Returns how many rows were dropped, because a copy of theirs keeps its label.
    """
    dropped = 0
    if "test" not in tables:
        tables["train"], tables["test"] = cut(tables["train"], settings.test, "test", target, seed)
    if settings.labels_per_class is not None:
        dropped = keep_labels(tables, settings.labels_per_class, target, seed)
    make_validation(tables, settings, target, seed)
    return dropped


def make_validation(tables: Tables, settings: Prepare, target: Target, seed: int) -> None:
    """Cut validation off train if there is none, in place."""
    if "validation" not in tables:
        tables["train"], tables["validation"] = cut(tables["train"], settings.validation, "validation", target, seed)


def pool(tables: Tables, settings: Prepare, seed: int) -> None:
    """All rows in train and, for a share of them, validation, whatever their split and label; in place.

    Raises:
        UserError: there are none.
    """
    parts = [f.drop(columns="target", errors="ignore") for f in tables.values() if len(f)]
    if not parts:
        raise UserError("the source data has no rows to learn from, but those of a test split; give it others")
    rows = pd.concat(parts)
    rows = rows.drop_duplicates("key").reset_index(drop=True)
    tables.clear()
    tables["train"], tables["validation"] = cut(rows, settings.validation, "validation", None, seed)


def keep_labels(tables: Tables, count: int, target: Target, seed: int) -> int:
    """Leave `count` labelled rows of each class in train; the others join unlabelled without their label.

    Copies of a row that keeps its label are dropped; returns how many.

    Raises:
        UserError: a task without classes.
    """
    train = tables["train"]
    classes = target.strata(train["target"])
    if classes is None:
        raise UserError("prepare.labels_per_class needs a task with classes; set it to null")
    if "validation" in tables:
        raise UserError(
            "prepare.labels_per_class counts the labels of validation too, but the source gives validation whole; "
            "leave its validation split out of the yaml, or set labels_per_class to null"
        )
    shuffled = train.sample(frac=1.0, random_state=seed)
    labelled = shuffled.groupby(classes.loc[shuffled.index]).head(count).index
    others = train.drop(index=labelled)
    # copies of a labelled input would carry its label over to the other side
    copies = others["key"].isin(set(train.loc[labelled, "key"]) - {""})
    tables["train"] = train.loc[sorted(labelled)].reset_index(drop=True)
    parts = [*([tables["unlabelled"]] if "unlabelled" in tables else []), others[~copies].drop(columns="target")]
    if rest := [part for part in parts if len(part)]:
        tables["unlabelled"] = pd.concat(rest, ignore_index=True)
        if problems := check_ids("unlabelled, with the rows of train that lost their label,", tables["unlabelled"]):
            raise UserError(problems)
    return int(copies.sum())


def cut(
    train: pd.DataFrame, share: float, split: str, target: Target | None, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rest, cut-off part) of about `share` of the rows; equal inputs land on one side.

    Raises:
        UserError: too few rows for one of each class on both sides.
    """
    keys = train["key"].where(train["key"] != "", train["row_id"])
    groups = train.assign(key=keys).drop_duplicates("key")
    strata = target.strata(groups["target"]) if target else None
    size = max(round(share * len(groups)), 1 if strata is None else strata.nunique())
    try:
        _, part = train_test_split(groups["key"], test_size=size, stratify=strata, random_state=seed)
    except ValueError as error:
        counts = pd.Series(strata, dtype=object).value_counts()
        smallest = [f", {len(counts)} classes, the smallest, {c!r}, with {n}" for c, n in counts.tail(1).items()]
        raise UserError(
            f"{split} cannot be cut off train ({len(groups)} different inputs{''.join(smallest)}): "
            f"{error}; add rows, or give the split as a file"
        ) from error
    chosen = keys.isin(set(part))
    return train[~chosen].reset_index(drop=True), train[chosen].reset_index(drop=True)
