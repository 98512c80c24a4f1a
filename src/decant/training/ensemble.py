"""Cross-validation: train cut into parts, a model for each part that did not see it, and what they say together."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold

from decant.core.errors import UserError
from decant.dataset.modality import Row
from decant.dataset.prepared import Prepared
from decant.models import predictions
from decant.models.logits_storage import Storage
from decant.models.predictions import FOLDS_FILE, ensemble_members, read_split
from decant.task import Task


def parts(prepared: Prepared, task: Task, count: int, seed: int) -> np.ndarray:
    """(N,): the part, from 1 to `count`, of each row of train; equal inputs are in one part.

    Parts are stratified by `Task.strata` (Kohavi 1995) and drawn from `seed`.

    Raises:
        UserError: too few different inputs, of all or of one class, to give each part one.
    """
    train = prepared.frames["train"]
    keys = prepared.modality.duplicate_keys(train)
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
    """Write the predictions of all members together to `folder`, which holds a directory for each; and `FOLDS_FILE`.

    With folds, a row of train gets the logits of the one model that did not see it (out-of-fold; Wolpert 1992): soft
    targets on what a teacher has learned by heart would say little more than the labels. Every other row gets the
    ensemble's (Lakshminarayanan et al. 2017, arXiv:1612.01474).
    """
    logits = {}
    for split in prepared.frames:
        each = np.stack([read_split(member, split, prepared) for member in ensemble_members(folder)])
        if split == "train" and fold is not None:
            each = each[None, fold - 1, np.arange(len(fold))]  # an ensemble of one: the same scale as elsewhere
        logits[split] = prepared.ids(split), task.ensemble(each)
    predictions.write(folder, logits, prepared.digests, storage)
    if fold is not None:
        pd.DataFrame({"row_id": prepared.ids("train"), "fold": fold}).to_parquet(folder / FOLDS_FILE, index=False)
