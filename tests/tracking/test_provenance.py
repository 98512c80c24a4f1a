import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from decant.core.errors import UserError
from decant.tracking import provenance


def test_the_recorded_environment_holds_the_keys_of_the_committed_one(config: Any) -> None:
    committed = provenance.read(ROOT)["prepare"]
    environment = provenance.environment(config["trainer"])
    assert environment.keys() == committed.keys() - {"digest"}
    assert environment["trainer.devices"] == "1"
    assert all(isinstance(value, str) for value in environment.values())


def test_an_output_with_equal_bytes_keeps_its_first_record(empty_workdir: Path) -> None:
    provenance.record("prepare", "00", {"python": "3.11"})
    provenance.record("prepare", "00", {"python": "3.12"})
    provenance.record("distill", "11", {"python": "3.12"})
    assert provenance.read() == {
        "prepare": {"digest": "00", "python": "3.11"},
        "distill": {"digest": "11", "python": "3.12"},
    }
    provenance.record("prepare", "22", {"python": "3.12"})
    assert provenance.read()["prepare"] == {"digest": "22", "python": "3.12"}


def test_the_record_is_sorted_json_that_diffs_line_by_line(empty_workdir: Path) -> None:
    provenance.record("prepare", "00", {"b": "2", "a": "1"})
    expected = json.dumps({"prepare": {"a": "1", "b": "2", "digest": "00"}}, indent=1) + "\n"
    assert provenance.FILE.read_text() == expected


def test_a_record_with_the_marks_of_a_merge_is_named_with_the_next_step(empty_workdir: Path) -> None:
    assert provenance.read() == {}
    provenance.FILE.write_text("<<<<<<< HEAD\n{}\n")
    with pytest.raises(UserError, match=r"provenance.json cannot be read: .* \(git checkout --ours"):
        provenance.read()


def test_outside_a_git_repository_the_commit_is_unknown(empty_workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(empty_workdir / "nowhere"))
    tags = provenance.run_tags()
    assert (tags["git.commit"], tags["git.dirty"], tags["dvc.lock"]) == ("unknown", "unknown", "none")
    assert "dvc.experiment" not in tags


def test_git_that_refuses_a_repository_of_another_owner_is_reported_before_any_work(
    empty_workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)
    provenance.check_git()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UserError, match=r"git does not work here: .*git config --global --add safe\.directory"):
        provenance.check_git()
    tags = provenance.run_tags()
    assert (tags["git.commit"], tags["git.dirty"]) == ("unknown", "unknown")


def test_no_repository_and_no_git_are_no_hindrance(empty_workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(empty_workdir.parent))
    provenance.check_git()
    monkeypatch.setenv("PATH", str(empty_workdir))
    provenance.check_git()
    assert provenance.run_tags()["git.commit"] == "unknown"


def test_the_name_of_an_experiment_in_a_worktree_comes_first(
    empty_workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "of-dvc")
    monkeypatch.setenv("DECANT_EXPERIMENT_NAME", "of-decant")
    assert provenance.run_tags()["dvc.experiment"] == "of-decant"
