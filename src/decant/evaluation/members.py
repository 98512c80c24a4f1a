"""The members of an ensemble of teachers: the primary metric of each, and one answer from all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from decant.dataset.modality import PredictFn
from decant.dataset.prepared import Prepared
from decant.models.predictions import FOLDS_FILE, ensemble_members, read_split
from decant.task import Objective, Scoring


def scores(folder: Path, prepared: Prepared, scoring: Scoring) -> dict[str, Any]:
    """The headline figure of each member on test; of folds, also on the part it did not see (`held_out`), and of all.

    The spread is that of the members. Of folds it is no standard error: they share most of their rows (Bengio &
    Grandvalet 2004).
    """
    test = np.stack(prepared.frames["test"]["target"].to_list())
    found = spread([scoring.score(read_split(member, "test", prepared), test) for member in ensemble_members(folder)])
    if not (folder / FOLDS_FILE).exists():
        return found
    fold = pd.read_parquet(folder / FOLDS_FILE).set_index("row_id")["fold"].loc[prepared.ids("train")].to_numpy()
    train, unseen = np.stack(prepared.frames["train"]["target"].to_list()), read_split(folder, "train", prepared)
    held = [scoring.score(unseen[fold == i], train[fold == i]) for i in range(1, len(ensemble_members(folder)) + 1)]
    return {**found, "out_of_fold": scoring.score(unseen, train), "held_out": spread(held)}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation of the sample, and the values."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)), "each": list(values)}


def together(answers: Sequence[PredictFn], objective: Objective) -> PredictFn:
    """One answer from those of all folds, asked one after the other."""
    if len(answers) == 1:
        return answers[0]
    return lambda inputs: torch.from_numpy(objective.ensemble(np.stack([answer(inputs).numpy() for answer in answers])))
