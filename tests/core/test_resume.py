from pathlib import Path

import pytest

from decant.core import resume
from decant.core.resume import STATE, clear_states, fingerprint, open_state, state_dir, state_id

CONFIG = {"seed": 0, "distill": {"lr": 1.0}, "trainer": {"threads": 1, "save_minutes": 5}}


@pytest.fixture(autouse=True)
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/prepare").mkdir(parents=True)
    (tmp_path / "data/prepare/train.parquet").write_text("rows")
    return tmp_path


def test_the_state_of_a_stage_lies_outside_the_outputs_that_dvc_deletes() -> None:
    folder = state_dir("distill", CONFIG)
    assert folder == STATE / "distill" / fingerprint("distill", CONFIG)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"seed": 1}, False),
        ({"distill": {"lr": 2.0}}, False),
        ({"trainer": {"threads": 2, "save_minutes": 5}}, False),
        ({"trainer": {"threads": 1, "save_minutes": 9}}, True),  # how often a state is saved decides no result
    ],
)
def test_a_state_belongs_to_one_config(change: dict, same: bool) -> None:
    assert (fingerprint("distill", CONFIG | change) == fingerprint("distill", CONFIG)) == same


def test_a_state_belongs_to_the_outputs_of_earlier_stages_and_to_no_later_ones(workdir: Path) -> None:
    before = fingerprint("fine_tune", CONFIG)
    (workdir / "data/distill").mkdir()
    (workdir / "data/distill/model").write_text("later")
    assert fingerprint("fine_tune", CONFIG) == before
    (workdir / "data/prepare/train.parquet").write_text("other rows")
    assert fingerprint("fine_tune", CONFIG) != before


def test_a_state_belongs_to_the_code_the_versions_and_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = {fingerprint("prepare", CONFIG)}
    for name, value in (("versions", "torch 0"), ("hardware", "another processor")):
        with monkeypatch.context() as patch:
            patch.setattr(resume, name, lambda *_, value=value: value)
            fingerprints.add(fingerprint("prepare", CONFIG))
    with monkeypatch.context() as patch:
        patch.setattr(resume, "__file__", str(Path("package/core/resume.py").absolute()))
        fingerprints.add(fingerprint("prepare", CONFIG))
    assert len(fingerprints) == 4


def test_opening_a_state_deletes_all_others_and_keeps_its_own_name() -> None:
    old, new = STATE / "prepare/1", STATE / "fine_tune/2"
    open_state(old)
    name = state_id(old)
    open_state(old)
    assert state_id(old) == name != ""
    open_state(new)
    assert not old.exists()
    assert state_id(new) not in ("", name)


def test_what_is_no_state_of_a_stage_is_not_deleted() -> None:
    other = STATE / "outbox/1"
    other.mkdir(parents=True)
    open_state(STATE / "fine_tune/2")
    clear_states()
    assert other.exists()
    assert not (STATE / "fine_tune").exists()


def test_without_a_state_there_is_no_id() -> None:
    assert state_id(STATE / "prepare/1") == ""
