"""The members of an ensemble of teachers: the primary metric of each, and their joint predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from decant.dataset.modality import PredictFn
from decant.dataset.prepared import Prepared
from decant.evaluation.roles import Metrics
from decant.models.predictions import FOLDS_FILE, ensemble_members, read_split
from decant.task import Objective, Scoring


def member_scores(folder: Path, prepared: Prepared, scoring: Scoring) -> Metrics:
    """Mean and spread of the members' primary metric on test.

    For cross-validation also on the fold each member did not see (`held_out`), and of all those predictions together
    (`out_of_fold`). The spread between folds is no standard error: folds share most of their rows (Bengio & Grandvalet
    2004).
    """
    test = np.stack(prepared.frames["test"]["target"].to_list())
    scores = mean_and_std(
        [scoring.score(read_split(member, "test", prepared), test) for member in ensemble_members(folder)]
    )
    if not (folder / FOLDS_FILE).exists():
        return scores
    fold = pd.read_parquet(folder / FOLDS_FILE).set_index("row_id")["fold"].loc[prepared.ids("train")].to_numpy()
    target, logits = np.stack(prepared.frames["train"]["target"].to_list()), read_split(folder, "train", prepared)
    held_out = [
        scoring.score(logits[fold == i], target[fold == i]) for i in range(1, len(ensemble_members(folder)) + 1)
    ]
    return {**scores, "out_of_fold": scoring.score(logits, target), "held_out": mean_and_std(held_out)}


def mean_and_std(values: Sequence[float]) -> Metrics:
    """Mean, sample standard deviation, and the values."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)), "scores": list(values)}


def joint(functions: Sequence[PredictFn], objective: Objective) -> PredictFn:
    """The ensemble's answer, which asks all members in turn."""
    if len(functions) == 1:
        return functions[0]
    return lambda inputs: torch.from_numpy(
        objective.ensemble(np.stack([predict(inputs).numpy() for predict in functions]))
    )
