"""The prepare stage: bytes, messages, exit codes."""

from pathlib import Path

import pytest
from support.commands import run_stage
from support.paths import ROOT

from decant import prepare
from decant.core.errors import UserError
from decant.dataset.prepared import SOURCE, read_prepared
from decant.experiment.experiment import Experiment
from decant.tracking.runs import Run


def test_labels_taken_away_are_not_learned_from_the_source(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    few = ["prepare.labels_per_class=4", "use.source=toy", "use.pretrain=supervised", "+data.leaks=drop"]
    few += [f"{section}.batch_size=4" for section in ("pretrain_load", "fine_tune", "distill")]
    prepare.main(Experiment.load(["use.data=toy", *few, "+source.leaks=drop"], ROOT), Run())
    target, source = read_prepared().frames, read_prepared(SOURCE).frames
    seen = {text for frame in source.values() for text in frame["input"]}
    assert seen <= set(target["train"]["input"])
    assert not seen & {text for s in ("validation", "unlabelled", "test") for text in target[s]["input"]}


def run_here(*overrides: str) -> None:
    prepare.main(Experiment.load(["use.data=toy", *overrides], ROOT), Run())


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
    done = run_stage(name, "use.data=toy", "use.teacher=tiny", "use.student=tiny", cwd=prepared)
    assert done.stderr == f"decant: no data/{missing}, which an earlier stage writes; run: dvc repro {name}\n"


def test_bad_input_ends_the_process_with_a_message_and_no_traceback(project: Path) -> None:
    done = run_stage("prepare", "use.data=toy", "data.train=nowhere.csv", "data.input=message", cwd=project)
    assert done.returncode == 2
    assert "decant: no file nowhere.csv" in done.stderr
    assert "decant: data/raw/support/test.csv has no column 'message'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_named_before_any_work(project: Path) -> None:
    (project / "data/prepare").write_text("a file in the way")
    done = run_stage("prepare", "use.data=toy", cwd=project)
    assert done.returncode == 2
    assert "data/prepare cannot be written" in done.stderr
