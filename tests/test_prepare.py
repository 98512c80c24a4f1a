"""The prepare stage: bytes, messages, exit codes."""

from pathlib import Path

import pandas as pd
import pytest
from support.commands import Done, run_fork
from support.experiments import experiment_of
from support.pretraining import TEXTS, pretraining

from decant import prepare
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.dataset.prepared import SOURCE, read_prepared
from decant.tracking.runs import Run


def test_labels_taken_away_are_not_learned_from_the_source(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    few = ["prepare.labels_per_class=4", "use.source=toy", "use.pretrain=supervised", "+data.leaks=drop"]
    few += [f"{section}.batch_size=4" for section in ("pretrain_load", "fine_tune", "distill")]
    prepare.main(experiment_of("use.data=toy", *few, "+source.leaks=drop"), Run())
    target, source = read_prepared().frames, read_prepared(SOURCE).frames
    seen = {text for frame in source.values() for text in frame["input"]}
    assert seen <= set(target["train"]["input"])
    assert not seen & {text for s in ("validation", "unlabelled", "test") for text in target[s]["input"]}


def run_here(*overrides: str) -> None:
    prepare.main(experiment_of("use.data=toy", *overrides), Run())


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


def run_process(cwd: Path, logs: Path, *words: str) -> Done:
    """A stage as its own process, as DVC starts it."""
    return run_fork(words, cwd, {}, logs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "missing"), [("distill", "pretrain_load/student/manifest.json"), ("evaluate", "fine_tune/config.json")]
)
def test_a_stage_without_its_input_names_what_is_missing_and_the_stage_to_run(
    prepared: Path, name: str, missing: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    done = run_process(prepared, logs, name, "use.data=toy", "use.teacher=tiny", "use.student=tiny")
    assert done.err == f"decant: no data/{missing}, which an earlier stage writes; run: dvc repro {name}\n"


@pytest.mark.slow
def test_bad_input_ends_the_process_with_a_message_and_no_traceback(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    done = run_process(project, logs, "prepare", "use.data=toy", "data.train=nowhere.csv", "data.input=message")
    assert done.code == 2
    assert "decant: no file nowhere.csv" in done.err
    assert "decant: data/raw/support/test.csv has no column 'message'" in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_named_before_any_work(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (project / "data/prepare").write_text("a file in the way")
    done = run_process(project, tmp_path_factory.mktemp("logs"), "prepare", "use.data=toy")
    assert done.code == 2
    assert "data/prepare cannot be written" in done.err


# --- the tables of the source task


def source_with(project: Path, *texts: str) -> list[str]:
    """Overrides: the source data is the corpus and `texts`."""
    lines = [*TEXTS, *texts]
    pd.DataFrame({"text": lines, "intent": ["a", "b"] * (len(lines) // 2) + ["a"] * (len(lines) % 2)}).to_csv(
        project / "source.csv", index=False
    )
    return ["use.data=toy", "use.source=toy", "source.train=source.csv", "source.test=null", "source.classes=null",
            "source.unlabelled=null"]  # fmt: skip


def target_test_inputs(project: Path) -> list[str]:
    """Inputs of the target's test split."""
    frame = pd.read_csv(project / "data/raw/support/test.csv")
    return list(frame[frame["intent"] == "invoice"]["text"])


@pytest.mark.parametrize("pretrain", ["masked", "supervised"])
def test_a_test_input_of_the_target_is_refused_in_the_source(
    pretrain: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    overrides = source_with(project, target_test_inputs(project)[0].upper())
    with pytest.raises(UserError, match="1 inputs of the source data are also in the test split of the target data"):
        prepare.main(pretraining(*overrides, f"use.pretrain={pretrain}"), Run())
    assert not Path("data/prepare").exists()


@pytest.mark.parametrize("pretrain", ["masked", "supervised"])
def test_a_test_input_of_the_target_is_dropped_from_the_source_where_that_is_allowed(
    pretrain: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    overrides = source_with(project, *target_test_inputs(project)[:3])
    prepare.main(pretraining(*overrides, f"use.pretrain={pretrain}", "+source.leaks=drop"), Run())
    source, test = Path("data/prepare/source"), pd.read_parquet("data/prepare/test.parquet")
    frames = [pd.read_parquet(file) for file in sorted(source.glob("*.parquet"))]
    rows = pd.concat(frames)
    assert sorted(rows["input"]) == sorted(TEXTS)
    assert not set(rows["input"]) & set(test["input"])
    assert read_json(source / "card.json")["dropped"]["leaks"] == 3
    assert (pretrain == "masked") == set(rows["target"]).issubset({-1})


def test_without_labels_all_rows_but_those_of_test_are_pooled(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    prepare.main(pretraining("use.data=toy", "use.source=toy", "use.pretrain=masked"), Run())
    target, source = Path("data/prepare"), Path("data/prepare/source")
    assert sorted(f.name for f in source.iterdir()) == ["card.json", "train.parquet", "validation.parquet"]
    inputs = [set(pd.read_parquet(source / f"{s}.parquet")["input"]) for s in ("train", "validation")]
    assert not inputs[0] & inputs[1]
    expected = {
        x for s in ("train", "validation", "unlabelled") for x in pd.read_parquet(target / f"{s}.parquet")["input"]
    }
    assert inputs[0] | inputs[1] == expected


def test_a_source_that_holds_nothing_but_a_test_split_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    test_alone = ["source.train=null", "source.unlabelled=null", "use.pretrain=masked"]
    with pytest.raises(UserError, match="no rows to learn from"):
        prepare.main(pretraining("use.data=toy", "use.source=toy", *test_alone), Run())
