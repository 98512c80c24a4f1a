import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo
from support.git import git

from decant.commands.checks import git as checks
from decant.core.errors import UserError
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
    assert not [f for f in (project / ".state").iterdir() if f.name not in ("experiments", "apply.lock", "valid")]


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


def kill_in_first_move(place: Worktree, snapshot: Snapshot) -> None:
    """Kill `apply` when the old output is away and the new one is not yet there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            result.apply(place, snapshot)


def test_a_result_is_not_completed_after_the_files_changed_if_it_had_not_begun(
    finished: tuple[Worktree, Snapshot], project: Path
) -> None:
    kill_in_first_move(*finished)
    shutil.rmtree(project / result.REPLACED)
    before = outputs(project)
    (project / "params.yaml").write_text("params.yaml: of another branch\n")
    result.complete_interrupted(project)
    assert outputs(project) == before
    assert result.pending(project) is None


def test_doctor_completes_a_result_before_it_removes_a_worktree(
    finished: tuple[Worktree, Snapshot], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_in_first_move(*finished)
    monkeypatch.chdir(project)
    assert list(checks.check_worktrees()) == []
    (finding,) = checks.check_result()
    assert finding.heal is not None
    finding.heal()
    assert outputs(project) == NEW
    assert len(list(checks.check_worktrees())) == 1


def test_a_result_whose_worktree_is_gone_is_named_with_what_is_left(
    finished: tuple[Worktree, Snapshot], project: Path
) -> None:
    kill_in_first_move(*finished)
    finished[0].remove()
    with pytest.raises(UserError, match=r"which is gone; outputs that it replaced are in .state/replaced: move them"):
        result.complete_interrupted(project)
    assert (project / result.REPLACED).is_dir()


def test_outputs_that_cannot_be_replaced_leave_the_project_as_it_is(
    finished: tuple[Worktree, Snapshot], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = outputs(project)
    monkeypatch.setattr("os.access", lambda path, _: Path(path).name != "prepare")
    assert result.apply(*finished) == f"there is no permission to replace {project / 'data/prepare'}"
    monkeypatch.undo()
    monkeypatch.setattr(result, "device", lambda folder: hash(folder))
    assert result.apply(*finished) == "data and .state are on different file systems, expected one"
    assert outputs(project) == before


@pytest.mark.parametrize("name", ["a/b", "my run", "a..b", "x~1"])
def test_a_name_that_git_cannot_store_is_refused(name: str, project: Path) -> None:
    snapshot = take_snapshot(project)
    with pytest.raises(UserError, match="is no name of an experiment"):
        result.check_name(project, snapshot, name, snapshot.inputs)


def test_a_name_of_an_experiment_with_other_values_is_refused(
    finished: tuple[Worktree, Snapshot], project: Path
) -> None:
    place, snapshot = finished
    result.save(place, snapshot, "base")
    inputs = take_snapshot(place.project).inputs
    result.check_name(project, snapshot, "base", inputs)  # the same command again
    (place.project / "params.yaml").write_text("params.yaml: other\n")
    with pytest.raises(UserError, match=r"an experiment with other values has the name base; .*dvc exp remove base"):
        result.check_name(project, snapshot, "base", take_snapshot(place.project).inputs)


def test_an_edit_of_untracked_data_is_a_change(finished: tuple[Worktree, Snapshot], project: Path) -> None:
    (project / "data/raw/new.csv").write_text("edited")
    assert result.apply(*finished) == "files here changed while the experiment ran"


def test_where_git_knows_no_author_the_experiment_has_one(
    finished: tuple[Worktree, Snapshot], project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    git(project, "config", "user.useConfigOnly", "true")
    result.save(*finished, "name-1")
    assert git(project, "log", "-1", "--format=%an", "--all", "--grep=experiment name-1") == "decant\n"
