"""Cross-validation: train cut into parts, a model for each part that did not see it, and what they say together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import KFold, StratifiedKFold

from decant import UserError, predictions
from decant.modality import Answer, Row
from decant.predictions import Storage, members
from decant.tables import Prepared
from decant.task import Task

PARTS = "folds.parquet"
"""Columns row_id and fold: which part of train a row is in, so which model did not see it."""


def parts(prepared: Prepared, task: Task, count: int, seed: int) -> np.ndarray:
    """(N,): the part, from 1 to `count`, of each row of train; equal inputs are in one part.

    Parts are stratified by `Task.strata` (Kohavi 1995) and drawn from `seed`.

    Raises:
        UserError: too few different inputs, of all or of one class, to give each part one.
    """
    train = prepared.frames["train"]
    keys = prepared.modality.keys(train)
    keys = keys.where(keys != "", train["row_id"])
    groups = train.assign(key=keys).drop_duplicates("key")
    strata = task.strata(groups["target"])
    codes = np.zeros(len(groups), int) if strata is None else pd.factorize(strata)[0]
    check(groups["row_id"], codes, count)
    cut = KFold if strata is None else StratifiedKFold
    fold: dict[str, int] = {}
    for number, (_, held) in enumerate(cut(count, shuffle=True, random_state=seed).split(codes, codes), 1):
        fold |= dict.fromkeys(groups["key"].iloc[held], number)
    return keys.map(fold).to_numpy()


def check(row_ids: "pd.Series[str]", codes: np.ndarray, count: int) -> None:
    """Refuse more folds than the smallest class has inputs; `codes` (N,): the class of each."""
    sizes = np.bincount(codes)
    if sizes.min() < count:
        of = f" of the class of row {row_ids.iloc[(codes == sizes.argmin()).argmax()]!r}" if len(sizes) > 1 else ""
        raise UserError(
            f"fine_tune.folds is {count}, but train has only {sizes.min()} different inputs{of}; expected one or more "
            "in each fold: lower folds, or add rows"
        )


def check_batch(fold: np.ndarray, batch_size: int) -> None:
    """Refuse, before any training, a batch that a fold's rows cannot fill; `fold` (N,): what `parts` gave."""
    least = len(fold) - int(np.bincount(fold).max())
    if batch_size > least:
        raise UserError(
            f"fine_tune.batch_size is {batch_size}, but a fold trains on only {least} of the {len(fold)} rows of "
            f"train; lower it to {least} or less, or raise fine_tune.folds"
        )


def without(fold: np.ndarray, number: int, rows: dict[str, list[Row]], prepared: Prepared) -> list[Row]:
    """The rows of train, in their order, that the model of a fold trains on: all but its own part."""
    return [row for row, part in zip(rows["train"], fold, strict=True) if part != number]


def combine(folder: Path, fold: np.ndarray | None, prepared: Prepared, task: Task, storage: Storage) -> None:
    """Write the predictions of all members together to `folder`, which holds a directory for each; and `PARTS`.

    With folds, a row of train gets the logits of the one model that did not see it (out-of-fold; Wolpert 1992): soft
    targets on what a teacher has learned by heart would say little more than the labels. Every other row gets the
    ensemble's (Lakshminarayanan et al. 2017, arXiv:1612.01474).
    """
    logits = {}
    for split in prepared.frames:
        each = np.stack([stored(member, split, prepared) for member in members(folder)])
        if split == "train" and fold is not None:
            each = each[None, fold - 1, np.arange(len(fold))]  # an ensemble of one: the same scale as elsewhere
        logits[split] = prepared.ids(split), task.ensemble(each)
    predictions.write(folder, logits, prepared.digests, storage)
    if fold is not None:
        pd.DataFrame({"row_id": prepared.ids("train"), "fold": fold}).to_parquet(folder / PARTS, index=False)


def stored(folder: Path, split: str, prepared: Prepared) -> np.ndarray:
    """Logits (N, C) that a folder holds for a split, in the order of its table."""
    return predictions.read(folder, split, prepared.ids(split), prepared.digests[split])


def scores(folder: Path, prepared: Prepared, task: Task) -> dict[str, Any]:
    """The headline figure of each member on test; of folds, also on the part it did not see (`held_out`), and of all.

    The spread is that of the members. Of folds it is no standard error: they share most of their rows (Bengio &
    Grandvalet 2004).
    """
    test = np.stack(prepared.frames["test"]["target"].to_list())
    found = spread([headline(stored(member, "test", prepared), test, task) for member in members(folder)])
    if not (folder / PARTS).exists():
        return found
    fold = pd.read_parquet(folder / PARTS).set_index("row_id")["fold"].loc[prepared.ids("train")].to_numpy()
    train, unseen = np.stack(prepared.frames["train"]["target"].to_list()), stored(folder, "train", prepared)
    held = [headline(unseen[fold == i], train[fold == i], task) for i in range(1, len(members(folder)) + 1)]
    return {**found, "out_of_fold": headline(unseen, train, task), "held_out": spread(held)}


def headline(logits: np.ndarray, target: np.ndarray, task: Task) -> float:
    """The figure that heads the report, from logits (N, C) and encoded targets."""
    return float(task.headline(task.sums(logits, target).sum(0, keepdims=True))[0])


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation of the sample, and the values."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)), "each": list(values)}


def together(answers: Sequence[Answer], task: Task) -> Answer:
    """One answer from those of all folds, asked one after the other."""
    if len(answers) == 1:
        return answers[0]
    return lambda inputs: torch.from_numpy(task.ensemble(np.stack([answer(inputs).numpy() for answer in answers])))
