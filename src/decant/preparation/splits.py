"""Splits that a data source lacks: split off train, stratified and seeded, with copies of an input on one side."""

import pandas as pd
from sklearn.model_selection import train_test_split

from decant.config.schema import Prepare
from decant.core.errors import UserError
from decant.preparation.cleaning import check_ids
from decant.task import Tables, Target


def make(tables: Tables, settings: Prepare, target: Target, seed: int) -> int:
    """Make the missing splits in place: test, unlabelled (`labels_per_class`), validation, in this order.

    Returns how many rows were dropped because a copy of them keeps its label.
    """
    dropped = 0
    if "test" not in tables:
        tables["train"], tables["test"] = split_off(tables["train"], settings.test, "test", target, seed)
    if settings.labels_per_class is not None:
        dropped = keep_labels(tables, settings.labels_per_class, target, seed)
    make_validation(tables, settings, target, seed)
    return dropped


def make_validation(tables: Tables, settings: Prepare, target: Target, seed: int) -> None:
    """Split validation off train in place, unless there is one."""
    if "validation" not in tables:
        tables["train"], tables["validation"] = split_off(
            tables["train"], settings.validation, "validation", target, seed
        )


def pool(tables: Tables, settings: Prepare, seed: int) -> None:
    """Put the rows of all splits into train, without their labels, and split validation off it; in place.

    Raises:
        UserError: there are no rows.
    """
    parts = [frame.drop(columns="target", errors="ignore") for frame in tables.values() if len(frame)]
    if not parts:
        raise UserError("the source data has no rows to learn from except those of a test split; give it others")
    rows = pd.concat(parts).drop_duplicates("key").reset_index(drop=True)
    tables.clear()
    tables["train"], tables["validation"] = split_off(rows, settings.validation, "validation", None, seed)


def keep_labels(tables: Tables, count: int, target: Target, seed: int) -> int:
    """Keep `count` labelled rows of each class in train; the other rows join unlabelled without their label.

    Copies of a row that keeps its label are dropped, since they would carry the label to the other side; returns how
    many.

    Raises:
        UserError: a task without classes, or a source with a validation split of its own.
    """
    train = tables["train"]
    classes = check_classes(tables, target)
    shuffled = train.sample(frac=1.0, random_state=seed)
    labelled = shuffled.groupby(classes.loc[shuffled.index]).head(count).index
    rest = train.drop(index=labelled)
    copies = rest["key"].isin(set(train.loc[labelled, "key"]) - {""})
    tables["train"] = train.loc[sorted(labelled)].reset_index(drop=True)
    add_unlabelled(tables, rest[~copies].drop(columns="target"), "with the rows of train that lost their label")
    return int(copies.sum())


def check_classes(tables: Tables, target: Target) -> "pd.Series[str]":
    """The class of each row of train.

    Raises:
        UserError: `labels_per_class` cannot be used with these tables.
    """
    classes = target.strata(tables["train"]["target"])
    if classes is None:
        raise UserError("prepare.labels_per_class needs a task with classes; set it to null")
    if "validation" in tables:
        raise UserError(
            "prepare.labels_per_class counts the labels of validation too, but the source has a validation split of "
            "its own; leave that split out of the yaml, or set labels_per_class to null"
        )
    return classes


def add_unlabelled(tables: Tables, rows: pd.DataFrame, description: str) -> None:
    """Append rows to unlabelled in place; `description` says in a message what was added.

    Raises:
        UserError: rows of both with one id.
    """
    parts = [part for part in (tables.get("unlabelled"), rows) if part is not None and len(part)]
    if not parts:
        return
    tables["unlabelled"] = pd.concat(parts, ignore_index=True)
    if problems := check_ids(f"unlabelled, {description},", tables["unlabelled"]):
        raise UserError(problems)


def split_off(
    train: pd.DataFrame, share: float, split: str, target: Target | None, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rest, new split) with about `share` of the rows in the latter; equal inputs are on the same side.

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
            f"{split} cannot be split off train ({len(groups)} different inputs{''.join(smallest)}): "
            f"{error}; add rows, or give the split as a file"
        ) from error
    chosen = keys.isin(set(part))
    return train[~chosen].reset_index(drop=True), train[chosen].reset_index(drop=True)
