"""Several teachers: folds of train for cross-validation, and the combined predictions of the members."""

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
from decant.task import Objective, Target

SEED_STEP = 1000
"""Distance between the seeds of the teachers of one experiment and those of the experiment with the next seed."""


def member_seed(seed: int, number: int) -> int:
    """The seed of a member, from 1, of an ensemble of seeds: none that the members of a nearby experiment have."""
    return (seed * SEED_STEP + number) % 2**32


def assign_folds(prepared: Prepared, target: Target, count: int, seed: int) -> np.ndarray:
    """(N,): the fold, from 1 to `count`, of each row of train; equal inputs are in one fold.

    Folds are stratified by `Target.strata` (Kohavi 1995) and depend on `seed`.

    Raises:
        UserError: fewer different inputs, of all or of one class, than folds.
    """
    train = prepared.frames["train"]
    keys = prepared.modality.duplicate_keys(train)
    keys = keys.where(keys != "", train["row_id"])
    unique = train.assign(key=keys).drop_duplicates("key")
    strata = target.strata(unique["target"])
    codes = np.zeros(len(unique), int) if strata is None else pd.factorize(strata)[0]
    check_folds(unique["row_id"], codes, count)
    splitter = KFold if strata is None else StratifiedKFold
    fold_of_key: dict[str, int] = {}
    splits = splitter(count, shuffle=True, random_state=seed).split(codes, codes)
    for number, (_, held_out) in enumerate(splits, 1):
        fold_of_key |= dict.fromkeys(unique["key"].iloc[held_out], number)
    return keys.map(fold_of_key).to_numpy()


def check_folds(row_ids: "pd.Series[str]", codes: np.ndarray, count: int) -> None:
    """Refuse more folds than the smallest class has inputs; `codes` (N,): the class of each."""
    sizes = np.bincount(codes)
    if sizes.min() < count:
        row = row_ids.iloc[(codes == sizes.argmin()).argmax()]
        of_class = f" of the class of row {row!r}" if len(sizes) > 1 else ""
        raise UserError(
            f"fine_tune.folds is {count}, but train has only {sizes.min()} different inputs{of_class}; expected one or "
            "more in each fold: lower folds, or add rows"
        )


def check_fold_batch(folds: np.ndarray, batch_size: int) -> None:
    """Refuse, before any training, a batch that the rows outside a fold cannot fill; `folds` (N,): of each row."""
    fewest = len(folds) - int(np.bincount(folds).max())
    if batch_size > fewest:
        raise UserError(
            f"fine_tune.batch_size is {batch_size}, but a fold trains on only {fewest} of the {len(folds)} rows of "
            f"train; lower it to {fewest} or less, or raise fine_tune.folds"
        )


def rows_outside_fold(folds: np.ndarray, number: int, rows: dict[str, list[Row]], prepared: Prepared) -> list[Row]:
    """The rows of train, in their order, that the member of a fold trains on: all but those of the fold."""
    return [row for row, fold in zip(rows["train"], folds, strict=True) if fold != number]


def combine_predictions(
    folder: Path, folds: np.ndarray | None, prepared: Prepared, objective: Objective, storage: Storage
) -> None:
    """Write the combined predictions of all members to `folder`, which holds a directory for each; and `FOLDS_FILE`.

    With folds, a row of train gets the logits of the one member that was not trained on it (out-of-fold; Wolpert 1992):
    soft targets on rows that a teacher has memorised would say little more than the labels. Every other row gets the
    logits of the ensemble (Lakshminarayanan et al. 2017, arXiv:1612.01474).
    """
    logits = {}
    for split in prepared.frames:
        member_logits = np.stack([read_split(member, split, prepared) for member in ensemble_members(folder)])
        if split == "train" and folds is not None:
            # an ensemble of one: the same scale as in the other splits
            member_logits = member_logits[None, folds - 1, np.arange(len(folds))]
        logits[split] = prepared.ids(split), objective.ensemble(member_logits)
    predictions.write(folder, logits, prepared.digests, storage)
    if folds is not None:
        pd.DataFrame({"row_id": prepared.ids("train"), "fold": folds}).to_parquet(folder / FOLDS_FILE, index=False)
