"""Splits that a source lacks."""

import pandas as pd
import pytest
from support.tables import keyed, loaded, table_source

from decant.config.schema import Prepare
from decant.core.errors import UserError
from decant.dataset.modality.text import Text
from decant.preparation import cleaning, splits
from decant.task.classify import Classify
from decant.task.regress import Regress

TARGET = Classify().target


def settings(validation: float = 0.25, test: float = 0.25, labels_per_class: int | None = None) -> Prepare:
    return Prepare(validation=validation, test=test, labels_per_class=labels_per_class, augmented_copies=0)


def test_missing_splits_are_made_stratified_and_seeded(rows: pd.DataFrame) -> None:
    first, second, third = keyed(rows), keyed(rows), keyed(rows)
    for made, seed in ((first, 0), (second, 0), (third, 1)):
        splits.make(made, settings(), TARGET, seed)
    assert {s: len(f) for s, f in first.items()} == {"train": 6, "test": 3, "validation": 3}
    assert all(f["target"].nunique() == 3 for f in first.values())
    assert all(first[s].equals(second[s]) for s in first)
    assert not all(first[s].equals(third[s]) for s in first)


def test_copies_of_an_input_land_on_one_side(rows: pd.DataFrame) -> None:
    twice = pd.concat([rows, rows.assign(text=rows["text"].str.upper())])
    made = keyed(twice)
    splits.make(made, settings(), TARGET, 0)
    assert cleaning.find_leaks(made, Text()) == {}


def test_two_rows_of_a_class_are_enough_to_train_and_validate(rows: pd.DataFrame) -> None:
    few = rows.groupby("intent").head(2)
    made = loaded(few, test=rows.drop(few.index).groupby("intent").head(1))
    cleaning.clean(made, table_source(), Text(), TARGET)
    splits.make(made, settings(validation=0.5, test=0.2, labels_per_class=None), TARGET, 0)
    assert cleaning.check_tables(made, TARGET) == []


def test_labels_can_be_taken_away_and_the_rows_stay_unlabelled(rows: pd.DataFrame) -> None:
    made = keyed(rows, test=rows.head(0))
    splits.make(made, settings(validation=0.5, test=0.2, labels_per_class=2), TARGET, 0)
    assert made["train"]["target"].value_counts().to_dict() == {"bills": 1, "boxes": 1, "beans": 1}
    assert len(made["validation"]) == 3
    assert len(made["unlabelled"]) == 6
    assert cleaning.find_leaks(made, Text()) == {}


def test_copies_of_what_keeps_its_label_are_dropped_and_counted(rows: pd.DataFrame) -> None:
    whole = pd.concat([rows, rows.assign(text=rows["text"].str.upper())], ignore_index=True)
    made = keyed(whole, test=rows.head(0))
    dropped = splits.make(made, settings(validation=0.5, test=0.2, labels_per_class=2), TARGET, 0)
    assert dropped > 0
    assert sum(map(len, made.values())) == len(whole) - dropped
    assert cleaning.find_leaks(made, Text()) == {}


def test_empty_inputs_are_no_copies_of_each_other(rows: pd.DataFrame) -> None:
    made = keyed(rows.assign(text=""), test=rows.head(0))
    assert splits.keep_labels(made, 2, TARGET, 0) == 0
    assert (len(made["train"]), len(made["unlabelled"])) == (6, 6)


def test_as_many_labels_as_there_are_rows_leave_none_unlabelled(rows: pd.DataFrame) -> None:
    made = keyed(rows, test=rows.head(0))
    splits.make(made, settings(validation=0.5, test=0.2, labels_per_class=len(rows)), TARGET, 0)
    assert set(made) == {"train", "validation", "test"}


def test_few_labels_beside_a_whole_validation_split_are_refused(rows: pd.DataFrame) -> None:
    made = keyed(rows, test=rows.head(0), validation=rows.head(3))
    with pytest.raises(UserError, match="counts the labels of validation too"):
        splits.make(made, settings(validation=0.5, test=0.2, labels_per_class=2), TARGET, 0)


def test_ids_that_collide_once_rows_lose_their_label_are_refused(rows: pd.DataFrame) -> None:
    made = keyed(rows, unlabelled=rows[["text"]] + "!")
    made["unlabelled"]["row_id"] = made["train"]["row_id"]
    with pytest.raises(UserError, match="duplicate ids"):
        splits.keep_labels(made, 2, TARGET, 0)


def test_which_labels_stay_is_seeded(rows: pd.DataFrame) -> None:
    kept = []
    for seed in (0, 0, 1):
        made = keyed(rows)
        splits.keep_labels(made, 2, TARGET, seed)
        kept.append(made["train"]["row_id"].tolist())
    assert kept[0] == kept[1] != kept[2]


def test_too_few_rows_for_a_split_are_explained(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="cannot be split off train"):
        splits.split_off(keyed(rows.iloc[[0, 4, 8]])["train"], 0.25, "test", TARGET, 0)


def test_too_few_numbers_for_a_split_are_explained(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"cannot be split off train \(1 different inputs\)"):
        splits.split_off(keyed(rows.head(1).assign(intent=1.0))["train"], 0.25, "test", Regress().target, 0)


def test_labels_per_class_need_classes() -> None:
    made = {"train": pd.DataFrame({"row_id": ["1"], "target": [1.0], "key": ["a"]})}
    with pytest.raises(UserError, match="needs a task with classes"):
        splits.keep_labels(made, 2, Regress().target, 0)
