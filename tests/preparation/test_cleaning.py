"""What prepare refuses or drops."""

import pandas as pd
import pytest
from support.tables import keyed, loaded, table_source

from decant.core.errors import UserError
from decant.data import with_row_ids
from decant.data.table import Table
from decant.dataset.modality.text import Text
from decant.preparation import cleaning
from decant.task.classify import Classify
from decant.task.regress import Regress

TARGET = Classify().target


def cleaned(made: dict[str, pd.DataFrame], **options: str) -> dict[str, int]:
    return cleaning.clean(made, table_source(**options), Text(), TARGET)


def test_a_leak_is_refused_with_counts(rows: pd.DataFrame) -> None:
    test = rows.assign(text=["ALPHA  about bills", *(rows["text"] + "!")[1:]])
    with pytest.raises(UserError, match=r"1 inputs of train are also in test, for example 'alpha about bills'"):
        cleaned(loaded(rows, test=test))


def test_a_leak_can_be_dropped_and_test_stays_whole(rows: pd.DataFrame) -> None:
    made = loaded(rows, test=rows.head(1))
    assert cleaned(made, leaks="drop")["leaks"] == 1
    assert (len(made["train"]), len(made["test"])) == (11, 1)


def test_a_train_split_that_leaks_leave_empty_is_refused(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="train has no rows left after dropping empty inputs and leaks"):
        cleaned(loaded(rows, validation=rows), leaks="drop")


def test_what_the_target_is_tested_on_never_pretrains(rows: pd.DataFrame) -> None:
    made = keyed(rows)
    test = keyed(rows.head(2).assign(text=rows["text"].str.upper()))["train"]
    with pytest.raises(UserError, match="2 inputs of the source data are also in the test split"):
        cleaning.drop_withheld(made, test, table_source())
    assert cleaning.drop_withheld(made, test, table_source(leaks="drop")) == 2
    assert len(made["train"]) == 10


def test_unlabelled_copies_of_labelled_inputs_are_leaks_too(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="inputs of unlabelled are also in train"):
        cleaned(loaded(rows, unlabelled=rows[["text"]].head(2)))


BAD_ROWS = {
    "empty text": (lambda f: f.assign(text=["  ", *f["text"][1:]]), "1 rows with an empty input"),
    "null label": (lambda f: f.assign(intent=[None, *f["intent"][1:]]), "1 rows without a label"),
    "single class": (lambda f: f.assign(intent="bills"), "single class 'bills'"),
    "one row": (lambda f: f.assign(intent=["rare", *f["intent"][1:]]), "one row of 'rare'"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused_by_name(rows: pd.DataFrame, case: str) -> None:
    spoil, message = BAD_ROWS[case]
    with pytest.raises(UserError, match=message):
        cleaned(loaded(spoil(rows)))


def test_a_class_that_train_lacks_is_refused(rows: pd.DataFrame) -> None:
    test = pd.DataFrame({"text": ["what"], "intent": ["new"]})
    with pytest.raises(UserError, match="test has classes that train lacks: 'new'"):
        cleaned(loaded(rows, test=test))


def test_duplicate_ids_are_refused(rows: pd.DataFrame) -> None:
    made = {"train": with_row_ids(rows.rename(columns={"text": "input", "intent": "target"}), "train", "target")}
    made["train"]["row_id"] = "same"
    with pytest.raises(UserError, match="11 duplicate ids"):
        cleaned(made)


def test_numbers_that_32_bits_cannot_tell_apart_are_one(rows: pd.DataFrame) -> None:
    made = keyed(rows.assign(intent=[1e-60, 2e-60] * 6))
    assert "expected at least two different ones" in cleaning.check_tables(made, Regress().target)[0]


def test_targets_that_cannot_be_read_are_told_by_split_with_all_other_problems() -> None:
    frame = pd.DataFrame({"input": ["a", ""], "target": ["1", "x"]})
    with pytest.raises(UserError) as caught:
        cleaning.clean(
            {"train": with_row_ids(frame, "train")},
            Table(train="x", input="t", target="y"),
            Text(),
            Regress(low=0.0, high=5.0).target,
        )
    assert "train: 1 targets are no numbers" in caught.value.problems[0]
    assert any("empty input" in p for p in caught.value.problems)
