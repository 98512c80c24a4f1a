from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, stage

from decant import UserError, config, floor, prepare
from decant.config import Prepare
from decant.data import numbered
from decant.data.table import Table
from decant.tracking import Run

KNOBS = Prepare(validation=0.25, test=0.25)


def tables(frame: pd.DataFrame, **others: pd.DataFrame) -> dict[str, pd.DataFrame]:
    both = {"train": frame, **others}
    return {s: numbered(f.rename(columns={"text": "input", "intent": "target"}), s) for s, f in both.items()}


def source(**options: str) -> Table:
    return Table(train="x", input="text", target="intent", **options)


def test_missing_splits_are_made_stratified_and_seeded(rows: pd.DataFrame) -> None:
    first, second, third = tables(rows), tables(rows), tables(rows)
    for made, seed in ((first, 0), (second, 0), (third, 1)):
        prepare.make_splits(made, KNOBS, seed)
    assert {s: len(f) for s, f in first.items()} == {"train": 6, "test": 3, "validation": 3}
    assert all(f["target"].nunique() == 3 for f in first.values())
    assert all(first[s].equals(second[s]) for s in first)
    assert not all(first[s].equals(third[s]) for s in first)


def test_copies_of_an_input_land_on_one_side(rows: pd.DataFrame) -> None:
    twice = pd.concat([rows, rows.assign(text=rows["text"].str.upper())])
    made = tables(twice)
    prepare.make_splits(made, KNOBS, 0)
    assert prepare.leaks(made) == {}


def test_a_leak_is_refused_with_counts(rows: pd.DataFrame) -> None:
    test = rows.assign(text=["ALPHA  about bills", *(rows["text"] + "!")[1:]])
    with pytest.raises(UserError, match=r"1 inputs of train stand in test too, for example 'alpha about bills'"):
        prepare.clean(tables(rows, test=test), source())


def test_a_leak_can_be_dropped_and_test_stays_whole(rows: pd.DataFrame) -> None:
    made = tables(rows, test=rows.head(1))
    assert prepare.clean(made, source(leaks="drop"))["leaks"] == 1
    assert (len(made["train"]), len(made["test"])) == (11, 1)


def test_unlabelled_rows_may_have_an_empty_label(rows: pd.DataFrame) -> None:
    frame = numbered(rows.rename(columns={"text": "input"}).assign(target=None), "unlabelled")
    assert prepare.encode(frame, ["bills"])["target"].tolist() == [-1] * len(rows)


def test_two_rows_of_a_class_are_enough_to_train_and_validate(rows: pd.DataFrame) -> None:
    few = rows.groupby("intent").head(2)
    made = tables(few, test=rows.drop(few.index).groupby("intent").head(1))
    prepare.clean(made, source())
    prepare.make_splits(made, Prepare(validation=0.5, test=0.2), 0)
    assert prepare.check_classes(made) == []


def test_unlabelled_copies_of_labelled_inputs_are_leaks_too(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="inputs of unlabelled stand in train too"):
        prepare.clean(tables(rows, unlabelled=rows[["text"]].head(2)), source())


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
        prepare.clean(tables(spoil(rows)), source())


def test_a_class_that_train_lacks_is_refused(rows: pd.DataFrame) -> None:
    test = pd.DataFrame({"text": ["what"], "intent": ["new"]})
    with pytest.raises(UserError, match="test has classes that train lacks: 'new'"):
        prepare.clean(tables(rows, test=test), source())


def test_duplicate_ids_are_refused(rows: pd.DataFrame) -> None:
    made = {"train": numbered(rows.rename(columns={"text": "input", "intent": "target"}), "train", "target")}
    made["train"]["row_id"] = "same"
    with pytest.raises(UserError, match="11 duplicate ids"):
        prepare.clean(made, source())


def test_too_few_rows_for_a_split_are_explained(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="cannot be cut off train"):
        prepare.cut(tables(rows.iloc[[0, 4, 8]])["train"], 0.25, "test", 0)


def run_here(*overrides: str) -> None:
    prepare.main(config.load(["use.data=toy", *overrides], ROOT), Run())


@pytest.fixture
def prepared(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    run_here()
    return project


BAD_FILES = {
    "missing file": (["data.train=nowhere.csv"], None, "no file nowhere.csv"),
    "unknown column": (["data.input=message"], None, "has no column 'message'; it has: 'text', 'intent'"),
    "not utf-8": (["data.train=bad.csv"], "text,intent\ncafé,a\n".encode("latin-1"), "not UTF-8: byte 0xe9"),
    "wrong digest": (["+data.sha256.train=00"], None, "sha256 is"),
    "unknown format": (["data.train=bad.xls"], b"x", "unknown format '.xls'"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_and_earlier_output_stays(prepared: Path, case: str) -> None:
    overrides, content, message = BAD_FILES[case]
    if content:
        (prepared / overrides[0].partition("=")[2]).write_bytes(content)
    before = {f.name: f.read_bytes() for f in (prepared / "data/prepare").iterdir()}
    with pytest.raises(UserError) as caught:
        run_here(*overrides)
    assert message in str(caught.value)
    assert before == {f.name: f.read_bytes() for f in (prepared / "data/prepare").iterdir()}


def test_the_same_input_gives_the_same_bytes(prepared: Path) -> None:
    before = {f.name: f.read_bytes() for f in (prepared / "data/prepare").iterdir()}
    run_here()
    assert before == {f.name: f.read_bytes() for f in (prepared / "data/prepare").iterdir()}


def test_bad_input_ends_the_process_with_a_message_and_no_traceback(project: Path) -> None:
    done = stage("prepare", "use.data=toy", "data.train=nowhere.csv", "data.input=message", cwd=project)
    assert done.returncode == 2
    assert "decant: no file nowhere.csv" in done.stderr
    assert "decant: data/raw/support/test.csv has no column 'message'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_named_before_any_work(project: Path) -> None:
    (project / "data/prepare").write_text("a file in the way")
    done = stage("prepare", "use.data=toy", cwd=project)
    assert done.returncode == 2
    assert "data/prepare cannot be written" in done.stderr


def test_the_shipped_set_is_too_hard_for_the_linear_floor() -> None:
    folder = ROOT / "data/raw/support"
    named = {"text": "input", "intent": "target"}
    train, test = (pd.read_csv(folder / f"{s}.csv").rename(columns=named) for s in ("train", "test"))
    linear = floor.fit(train, train.head(100))
    assert linear.score(test["input"], test["target"]) < 0.85
