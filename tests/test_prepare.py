from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, stage

from decant import prepare
from decant.config import compose
from decant.config.schema import Prepare
from decant.core.errors import UserError
from decant.data import with_row_ids
from decant.data.table import Table
from decant.dataset.modality.text import Text
from decant.dataset.prepared import SOURCE, read_prepared
from decant.evaluation import linear_baseline
from decant.preparation import cleaning, splits
from decant.task.classify import Classify
from decant.task.regress import Regress
from decant.tracking.runs import Run

TASK = Classify()
KNOBS = Prepare(validation=0.25, test=0.25, labels_per_class=None, copies=0)


def loaded(frame: pd.DataFrame, **others: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables as a source gives them."""
    both = {"train": frame, **others}
    return {s: with_row_ids(f.rename(columns={"text": "input", "intent": "target"}), s) for s, f in both.items()}


def keyed(frame: pd.DataFrame, **others: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables as they are once clean."""
    return {s: f.assign(key=Text().duplicate_keys(f)) for s, f in loaded(frame, **others).items()}


def cleaned(made: dict[str, pd.DataFrame], **options: str) -> dict[str, int]:
    return cleaning.clean(made, source(**options), Text(), TASK.target)


def source(**options: str) -> Table:
    return Table(train="x", input="text", target="intent", **options)


def test_missing_splits_are_made_stratified_and_seeded(rows: pd.DataFrame) -> None:
    first, second, third = keyed(rows), keyed(rows), keyed(rows)
    for made, seed in ((first, 0), (second, 0), (third, 1)):
        splits.make(made, KNOBS, TASK.target, seed)
    assert {s: len(f) for s, f in first.items()} == {"train": 6, "test": 3, "validation": 3}
    assert all(f["target"].nunique() == 3 for f in first.values())
    assert all(first[s].equals(second[s]) for s in first)
    assert not all(first[s].equals(third[s]) for s in first)


def test_copies_of_an_input_land_on_one_side(rows: pd.DataFrame) -> None:
    twice = pd.concat([rows, rows.assign(text=rows["text"].str.upper())])
    made = keyed(twice)
    splits.make(made, KNOBS, TASK.target, 0)
    assert cleaning.leaks(made, Text()) == {}


def test_a_leak_is_refused_with_counts(rows: pd.DataFrame) -> None:
    test = rows.assign(text=["ALPHA  about bills", *(rows["text"] + "!")[1:]])
    with pytest.raises(UserError, match=r"1 inputs of train stand in test too, for example 'alpha about bills'"):
        cleaned(loaded(rows, test=test))


def test_a_leak_can_be_dropped_and_test_stays_whole(rows: pd.DataFrame) -> None:
    made = loaded(rows, test=rows.head(1))
    assert cleaned(made, leaks="drop")["leaks"] == 1
    assert (len(made["train"]), len(made["test"])) == (11, 1)


def test_a_train_split_that_leaks_leave_empty_is_refused(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="train has no rows left after dropping empty inputs and leaks"):
        cleaned(loaded(rows, validation=rows), leaks="drop")


def test_unlabelled_rows_may_have_an_empty_label(rows: pd.DataFrame) -> None:
    frame = with_row_ids(rows.rename(columns={"text": "input"}).assign(target=None), "unlabelled")
    assert prepare.encode(frame, TASK, ["bills"])["target"].tolist() == [-1] * len(rows)


def test_two_rows_of_a_class_are_enough_to_train_and_validate(rows: pd.DataFrame) -> None:
    few = rows.groupby("intent").head(2)
    made = loaded(few, test=rows.drop(few.index).groupby("intent").head(1))
    cleaned(made)
    splits.make(made, Prepare(validation=0.5, test=0.2, labels_per_class=None, copies=0), TASK.target, 0)
    assert cleaning.check_tables(made, TASK.target) == []


def test_labels_can_be_taken_away_and_the_rows_stay_unlabelled(rows: pd.DataFrame) -> None:
    made = keyed(rows, test=rows.head(0))
    splits.make(made, Prepare(validation=0.5, test=0.2, labels_per_class=2, copies=0), TASK.target, 0)
    assert made["train"]["target"].value_counts().to_dict() == {"bills": 1, "boxes": 1, "beans": 1}
    assert len(made["validation"]) == 3
    assert len(made["unlabelled"]) == 6
    assert prepare.encode(made["unlabelled"], TASK, ["bills"])["target"].tolist() == [-1] * 6
    assert cleaning.leaks(made, Text()) == {}


def test_copies_of_what_keeps_its_label_are_dropped_and_counted(rows: pd.DataFrame) -> None:
    whole = pd.concat([rows, rows.assign(text=rows["text"].str.upper())], ignore_index=True)
    made = keyed(whole, test=rows.head(0))
    dropped = splits.make(made, Prepare(validation=0.5, test=0.2, labels_per_class=2, copies=0), TASK.target, 0)
    assert dropped > 0
    assert sum(map(len, made.values())) == len(whole) - dropped
    assert cleaning.leaks(made, Text()) == {}


def test_empty_inputs_are_no_copies_of_each_other(rows: pd.DataFrame) -> None:
    made = keyed(rows.assign(text=""), test=rows.head(0))
    assert splits.keep_labels(made, 2, TASK.target, 0) == 0
    assert (len(made["train"]), len(made["unlabelled"])) == (6, 6)


def test_as_many_labels_as_there_are_rows_leave_none_unlabelled(rows: pd.DataFrame) -> None:
    made = keyed(rows, test=rows.head(0))
    splits.make(made, Prepare(validation=0.5, test=0.2, labels_per_class=len(rows), copies=0), TASK.target, 0)
    assert set(made) == {"train", "validation", "test"}


def test_few_labels_beside_a_whole_validation_split_are_refused(rows: pd.DataFrame) -> None:
    made = keyed(rows, test=rows.head(0), validation=rows.head(3))
    with pytest.raises(UserError, match="counts the labels of validation too"):
        splits.make(made, Prepare(validation=0.5, test=0.2, labels_per_class=2, copies=0), TASK.target, 0)


def test_ids_that_collide_once_rows_lose_their_label_are_refused(rows: pd.DataFrame) -> None:
    made = keyed(rows, unlabelled=rows[["text"]] + "!")
    made["unlabelled"]["row_id"] = made["train"]["row_id"]
    with pytest.raises(UserError, match="duplicate ids"):
        splits.keep_labels(made, 2, TASK.target, 0)


def test_labels_taken_away_are_not_learned_from_the_source(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    few = ["prepare.labels_per_class=4", "use.source=toy", "use.pretrain=supervised", "+data.leaks=drop"]
    few += [f"{section}.batch_size=4" for section in ("pretrain_load", "fine_tune", "distill")]
    prepare.main(compose.load(["use.data=toy", *few, "+source.leaks=drop"], ROOT), Run())
    target, source = read_prepared().frames, read_prepared(SOURCE).frames
    seen = {text for frame in source.values() for text in frame["input"]}
    assert seen <= set(target["train"]["input"])
    assert not seen & {text for s in ("validation", "unlabelled", "test") for text in target[s]["input"]}


def test_which_labels_stay_is_seeded(rows: pd.DataFrame) -> None:
    kept = []
    for seed in (0, 0, 1):
        made = keyed(rows)
        splits.keep_labels(made, 2, TASK.target, seed)
        kept.append(made["train"]["row_id"].tolist())
    assert kept[0] == kept[1] != kept[2]


def test_what_the_target_is_tested_on_never_pretrains(rows: pd.DataFrame) -> None:
    made = keyed(rows)
    test = keyed(rows.head(2).assign(text=rows["text"].str.upper()))["train"]
    with pytest.raises(UserError, match="2 inputs of the source data stand in the test split"):
        cleaning.drop_held(made, test, source())
    assert cleaning.drop_held(made, test, source(leaks="drop")) == 2
    assert len(made["train"]) == 10


def test_unlabelled_copies_of_labelled_inputs_are_leaks_too(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="inputs of unlabelled stand in train too"):
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


def test_too_few_rows_for_a_split_are_explained(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="cannot be cut off train"):
        splits.cut(keyed(rows.iloc[[0, 4, 8]])["train"], 0.25, "test", TASK.target, 0)


def test_too_few_numbers_for_a_split_are_explained(rows: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"cannot be cut off train \(1 different inputs\)"):
        splits.cut(keyed(rows.head(1).assign(intent=1.0))["train"], 0.25, "test", Regress().target, 0)


def test_numbers_that_32_bits_cannot_tell_apart_are_one(rows: pd.DataFrame) -> None:
    made = keyed(rows.assign(intent=[1e-60, 2e-60] * 6))
    assert "expected at least two different ones" in cleaning.check_tables(made, Regress().target)[0]


def run_here(*overrides: str) -> None:
    prepare.main(compose.load(["use.data=toy", *overrides], ROOT), Run())


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
    before = {f: f.read_bytes() for f in (prepared / "data/prepare").rglob("*") if f.is_file()}
    with pytest.raises(UserError) as caught:
        run_here(*overrides)
    assert message in str(caught.value)
    assert before == {f: f.read_bytes() for f in before}


def test_the_same_input_gives_the_same_bytes(prepared: Path) -> None:
    before = {f: f.read_bytes() for f in (prepared / "data/prepare").rglob("*") if f.is_file()}
    run_here()
    assert before == {f: f.read_bytes() for f in before}


@pytest.mark.parametrize(
    ("name", "missing"), [("distill", "pretrain_load/student/manifest.json"), ("evaluate", "fine_tune/config.json")]
)
def test_a_stage_without_its_input_names_what_is_missing_and_the_stage_to_run(
    prepared: Path, name: str, missing: str
) -> None:
    done = stage(name, "use.data=toy", "use.teacher=tiny", "use.student=tiny", cwd=prepared)
    assert done.stderr == f"decant: no data/{missing}, which an earlier stage writes; run: dvc repro {name}\n"


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


def test_the_shipped_set_is_too_hard_for_the_linear_floor(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    prepare.main(compose.load(["use.data=support"], ROOT), Run())
    prepared = read_prepared()
    inputs, target = linear_baseline.columns(prepared, "test")
    assert linear_baseline.fit(prepared, TASK.scoring).score(inputs, target) < 0.85
