import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo
from support.git import git

from decant.workspace import result
from decant.workspace.snapshot import RECORDS, Snapshot, take_snapshot
from decant.workspace.worktree import Worktree


@pytest.fixture
def finished(project: Path) -> tuple[Worktree, Snapshot]:
    """A worktree whose stages have run, in a project with older outputs."""
    snapshot, place = take_snapshot(project), Worktree(project, "x")
    place.synchronize(snapshot)
    write_outputs(place)
    return place, snapshot


def write_outputs(place: Worktree) -> None:
    """The project as before an experiment, and the worktree as after it."""
    shutil.rmtree(place.root / "data/evaluate", ignore_errors=True)
    for name in RECORDS:
        (place.root / name).unlink(missing_ok=True)
    for folder, content in ((place.root, "old"), (place.project, "new")):
        for name in ("data/prepare/out", "data/evaluate/report.md"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
    (place.project / "data/evaluate/only_new").write_text("new")
    (place.project / "dvc.lock").write_text("schema: '2.0'\n")
    (place.project / "provenance.json").write_text("{}")


def outputs(project: Path) -> dict[str, str]:
    names = ("data/prepare/out", "data/evaluate/report.md", "data/evaluate/only_new", "dvc.lock", "provenance.json")
    return {name: (project / name).read_text() for name in names if (project / name).exists()}


NEW = {
    "data/prepare/out": "new",
    "data/evaluate/report.md": "new",
    "data/evaluate/only_new": "new",
    "dvc.lock": "schema: '2.0'\n",
    "provenance.json": "{}",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries of DVC
def test_a_saved_experiment_is_one_that_dvc_lists_with_its_new_files(
    finished: tuple[Worktree, Snapshot], project: Path, state: Callable[[], object]
) -> None:
    before = state()
    result.save(*finished, "name-1")
    with Repo(str(project)) as repo:
        listed = repo.experiments.ls()
    assert [name for experiments in listed.values() for name, _ in experiments] == ["name-1"]
    (ref,) = git(project, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    assert git(project, "show", f"{ref}:conf/new.yaml") == "new"
    assert git(project, "show", f"{ref}:dvc.lock") == "schema: '2.0'\n"
    assert git(project, "rev-parse", f"{ref}^") == git(project, "rev-parse", "HEAD")
    assert state() == before


def test_a_result_comes_into_the_project_and_nothing_else_changes(
    finished: tuple[Worktree, Snapshot], project: Path
) -> None:
    index, params = (project / ".git/index").read_bytes(), (project / "params.yaml").read_bytes()
    assert result.apply(*finished) == ""
    assert outputs(project) == NEW
    assert (project / ".git/index").read_bytes() == index
    assert (project / "params.yaml").read_bytes() == params
    assert not [f for f in (project / ".state").iterdir() if f.name not in ("experiments", "apply.lock")]


def test_a_project_whose_files_changed_in_the_meantime_stays_as_it_is(
    finished: tuple[Worktree, Snapshot], project: Path
) -> None:
    (project / "params.yaml").write_text("params.yaml: edited again\n")
    before = outputs(project)
    assert result.apply(*finished) == "files here changed while the experiment ran"
    assert outputs(project) == before


@pytest.mark.parametrize("alive", [True, False])
def test_a_project_in_which_dvc_runs_stays_as_it_is(
    alive: bool, finished: tuple[Worktree, Snapshot], project: Path
) -> None:
    holder = {"pid": os.getpid() if alive else 2**30, "cmd": "dvc repro"}
    lock = {"read": {"a": [holder]}, "write": {"b": holder}}
    (project / ".dvc/tmp/rwlock").write_text(json.dumps(lock))
    assert result.apply(*finished) == (f"DVC runs here (process {os.getpid()})" if alive else "")


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


STEPS = ("rename", "replace", "unlink")
"""The methods of Path with which files change."""


def test_a_kill_at_any_step_is_completed_by_the_next_command(
    finished: tuple[Worktree, Snapshot], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = last = 0
    place, snapshot = finished

    def counted(method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == last:
                raise Killed
            return method(*arguments, **options)

        return call

    for name in STEPS:
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    for last in range(1, 60):
        count = -1000  # steps of the preparation do not count
        write_outputs(place)
        before, count = outputs(project), 0
        try:
            assert result.apply(place, snapshot) == ""
        except Killed:
            result.complete_interrupted(project)
            if outputs(project) == before:  # killed before the journal was written
                assert result.apply(place, snapshot) == ""
        else:
            break
        assert outputs(project) == NEW, f"killed before step {last}"
    assert last > 8


def test_where_git_knows_no_author_the_experiment_has_one(
    finished: tuple[Worktree, Snapshot], project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    git(project, "config", "user.useConfigOnly", "true")
    result.save(*finished, "name-1")
    assert git(project, "log", "-1", "--format=%an", "--all", "--grep=experiment name-1") == "decant\n"
