"""Folds of train for cross-validation, seeds of the members of an ensemble, and their combined predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from decant.core.errors import UserError
from decant.dataset.modality.by_size import modality_of
from decant.dataset.prepared import Prepared
from decant.models import predictions
from decant.models.logits_storage import EXACT
from decant.models.predictions import FOLDS_FILE, read_split
from decant.task import Target
from decant.task.classify import Classify
from decant.task.classify.target import ClassifyTarget
from decant.training.ensemble import assign_folds, combine_predictions, member_seed, rows_outside_fold

CLASSES = ClassifyTarget()


class Numbers(ClassifyTarget):
    """Without classes to stratify by."""

    def strata(self, targets: "pd.Series[Any]") -> None:
        return None


def prepared_rows(inputs: list[str], targets: list[int]) -> Prepared:
    ids = [f"train-{i}" for i in range(len(inputs))]
    frame = pd.DataFrame({"row_id": ids, "input": inputs, "target": targets})
    return Prepared({"train": frame}, [str(t) for t in sorted(set(targets))], {"train": "digest"}, modality_of(None))


IMBALANCED = prepared_rows([f"message {i}" for i in range(90)], [0] * 60 + [1] * 30)


def test_folds_cover_train_once_and_keep_the_shares_of_classes() -> None:
    folds = assign_folds(IMBALANCED, CLASSES, 5, 0)
    target = IMBALANCED.frames["train"]["target"].to_numpy()
    assert len(folds) == 90
    counts = [(int((target[folds == i] == 0).sum()), int((target[folds == i] == 1).sum())) for i in range(1, 6)]
    assert counts == [(12, 6)] * 5


def test_folds_depend_on_the_seed_alone() -> None:
    first, again, other_seed = (assign_folds(IMBALANCED, CLASSES, 5, seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other_seed).any()


def test_duplicates_of_an_input_are_in_one_fold() -> None:
    inputs = [f"message {i % 30}".upper() if i < 30 else f" message  {i % 30} " for i in range(90)]
    folds = assign_folds(prepared_rows(inputs, [0, 1] * 45), CLASSES, 3, 0)
    assert (folds.reshape(3, 30) == folds[:30]).all()
    assert set(folds) == {1, 2, 3}


def test_empty_inputs_are_no_duplicates_of_each_other() -> None:
    folds = assign_folds(prepared_rows([""] * 9, [0] * 9), CLASSES, 3, 0)
    assert sorted(folds) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_target_without_strata_is_split_at_random() -> None:
    assert np.bincount(assign_folds(IMBALANCED, Numbers(), 5, 0)).tolist() == [0, 18, 18, 18, 18, 18]


@pytest.mark.parametrize(
    ("inputs", "target", "message"),
    [
        (["a", "b", "c", "d", "e", "E"], CLASSES, "folds is 3, but train has only 2 .* of the class of row 'train-3'"),
        (["a", "b", "A", "B", "a", "b"], Numbers(), "folds is 3, but train has only 2 different inputs; expected"),
    ],
)
def test_more_folds_than_the_smallest_class_has_inputs_are_refused(
    inputs: list[str], target: Target, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        assign_folds(prepared_rows(inputs, [0, 0, 0, 1, 1, 1]), target, 3, 0)


def test_a_fold_trains_on_all_rows_but_its_own_in_their_order() -> None:
    rows: Any = {"train": list("abcd")}
    assert rows_outside_fold(np.array([1, 2, 1, 3]), 1, rows, IMBALANCED) == ["b", "d"]


@pytest.mark.parametrize("seed", [0, 1, 4_294_966])
def test_the_seed_of_a_member_is_a_thousand_times_the_seed_plus_its_number(seed: int) -> None:
    assert [member_seed(seed, number) for number in (1, 2, 9)] == [1000 * seed + number for number in (1, 2, 9)]


@pytest.mark.parametrize("seed", [4_294_967, 4_294_968, 2**31, 2**32 - 1])
def test_a_large_seed_gives_members_different_seeds_that_every_library_takes(seed: int) -> None:
    seeds = [member_seed(seed, number) for number in range(1, 11)]
    assert all(0 <= s < 2**32 for s in seeds)
    assert len(set(seeds)) == 10
    np.random.RandomState(seeds[0])  # refuses a seed that is out of range


# --- combined predictions


@pytest.fixture
def member_logits(tmp_path: Path) -> np.ndarray:
    """(2, 6, 2): what two members, whose predictions are in a folder each, say of six rows."""
    logits = np.random.default_rng(0).normal(size=(2, 6, 2)).astype(np.float32)
    for number, values in enumerate(logits, 1):
        (tmp_path / f"fold_{number}").mkdir()
        predictions.write(tmp_path / f"fold_{number}", {"train": (SIX.ids("train"), values)}, SIX.digests)
    return logits


SIX = prepared_rows(list("abcdef"), [0, 1] * 3)


def test_a_row_of_train_gets_the_prediction_of_the_member_that_did_not_see_it(
    member_logits: np.ndarray, tmp_path: Path
) -> None:
    folds = np.array([1, 2, 2, 1, 1, 2])
    combine_predictions(tmp_path, folds, SIX, Classify().objective, EXACT)
    expected = softmax(member_logits[folds - 1, np.arange(6)], axis=1)
    np.testing.assert_allclose(softmax(read_split(tmp_path, "train", SIX), axis=1), expected, rtol=1e-5)
    assert pd.read_parquet(tmp_path / FOLDS_FILE)["fold"].tolist() == folds.tolist()


def test_without_folds_a_row_gets_the_mean_probability_of_all_members(
    member_logits: np.ndarray, tmp_path: Path
) -> None:
    combine_predictions(tmp_path, None, SIX, Classify().objective, EXACT)
    expected = softmax(member_logits, axis=2).mean(0)
    np.testing.assert_allclose(softmax(read_split(tmp_path, "train", SIX), axis=1), expected, rtol=1e-5)
    assert not (tmp_path / FOLDS_FILE).exists()
