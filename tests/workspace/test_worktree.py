import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo
from support.git import git

from decant.core.errors import UserError
from decant.workspace import worktree
from decant.workspace.git import Git
from decant.workspace.snapshot import take_snapshot
from decant.workspace.worktree import Worktree, opened


@pytest.fixture
def place(project: Path) -> Worktree:
    """A worktree with the files of the project."""
    created = Worktree(project, "x")
    created.synchronize(take_snapshot(project))
    return created


def test_a_worktree_has_the_files_of_the_project_and_changes_none_of_them(
    project: Path, state: Callable[[], object]
) -> None:
    before, created = state(), Worktree(project, "x")
    created.synchronize(take_snapshot(project))
    names = ("params.yaml", "conf/new.yaml", "data/raw/new.csv", "data/raw/deep/ignored.bin", "weights/model.bin")
    assert [(created.project / name).read_bytes() for name in names] == [(project / n).read_bytes() for n in names]
    assert not (created.project / "src/a.py").exists()
    assert git(created.project, "rev-parse", "HEAD") == git(project, "rev-parse", "HEAD")
    assert state() == before


def test_edits_and_commits_reach_the_worktree_when_the_command_is_repeated_and_not_before(
    project: Path, place: Worktree
) -> None:
    (project / "params.yaml").write_text("params.yaml: 3\n")
    (project / "data/raw/new.csv").unlink()
    assert (place.project / "params.yaml").read_text() == "params.yaml: edited\n"
    git(project, "commit", "-qam", "more")
    place.synchronize(take_snapshot(project))
    assert (place.project / "params.yaml").read_text() == "params.yaml: 3\n"
    assert not (place.project / "data/raw/new.csv").is_symlink()
    assert git(place.project, "rev-parse", "HEAD") == git(project, "rev-parse", "HEAD")


def test_outputs_records_and_states_of_an_interrupted_experiment_stay(project: Path, place: Worktree) -> None:
    kept = {"dvc.lock": "schema: '2.0'\nstages: {}\n", "data/prepare/out": "rows", ".state/fine_tune/x.ckpt": "state"}
    for name, content in kept.items():
        (place.project / name).parent.mkdir(parents=True, exist_ok=True)
        (place.project / name).write_text(content)
    place.synchronize(take_snapshot(project))
    assert {name: (place.project / name).read_text() for name in kept} == kept


@pytest.mark.parametrize(
    "torn", ["", "schema: '2.0'\nstages:\n  a: {", "schema: '2.0'\nstages:\n  a:\n    outs:\n    - path: b\n"]
)
def test_a_lock_file_that_dvc_was_killed_in_is_replaced_by_the_last_whole_one(
    torn: str, project: Path, place: Worktree
) -> None:
    (place.project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    place.synchronize(take_snapshot(project))
    (place.project / "dvc.lock").write_text(torn)
    place.synchronize(take_snapshot(project))
    assert (place.project / "dvc.lock").read_text() == "schema: '2.0'\nstages: {}\n"


def test_a_lock_of_a_killed_dvc_does_not_stop_the_next_one(project: Path, place: Worktree) -> None:
    (place.project / ".dvc/tmp").mkdir(exist_ok=True)
    for content in ("", '{"read": {"a": [{"pid": 1'):
        (place.project / ".dvc/tmp/rwlock").write_text(content)
        place.synchronize(take_snapshot(project))
        assert not (place.project / ".dvc/tmp/rwlock").exists()


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("again", [False, True])
def test_a_kill_before_or_after_any_git_command_is_mended_by_the_next_start(
    again: bool, project: Path, state: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    created, snapshot, before = Worktree(project, "x"), take_snapshot(project), state()
    if again:
        created.synchronize(snapshot)
    call, count, last = Git.__call__, 0, 0

    def killed_at(self: Git, *arguments: str, **options: str) -> str:
        nonlocal count
        count += 1
        if count == last:
            raise Killed
        return call(self, *arguments, **options)

    monkeypatch.setattr(Git, "__call__", killed_at)
    for last in range(1, 100):  # noqa: B007 - read by the function above
        count = 0
        try:
            created.synchronize(snapshot)
        except Killed:
            assert state() == before
            (Path(created.project) / ".git").exists() and index_lock(created).touch()  # as a killed git leaves it
            continue
        break
    assert last > 5
    last = 0
    assert (created.project / "params.yaml").read_text() == "params.yaml: edited\n"
    assert take_snapshot(created.project).inputs == snapshot.inputs
    assert state() == before


def index_lock(place: Worktree) -> Path:
    return Path(place.folder, git(place.folder, "rev-parse", "--git-path", "index.lock").strip())


def test_a_worktree_that_somebody_deleted_is_created_again(project: Path, place: Worktree) -> None:
    subprocess.run(["rm", "-rf", str(place.folder)], check=True)
    place.synchronize(take_snapshot(project))
    assert (place.project / "params.yaml").exists()


def test_a_removed_worktree_leaves_nothing_in_git(project: Path, place: Worktree) -> None:
    place.remove()
    assert not place.folder.exists()
    assert len(git(project, "worktree", "list").splitlines()) == 1
    place.remove()  # a second time is no error


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries of DVC
def test_the_cache_of_a_worktree_is_that_of_the_project(project: Path, place: Worktree) -> None:
    with Repo(str(place.project)) as repo:
        assert Path(repo.cache.local.path) == project / ".dvc/cache/files/md5"
    (project / ".dvc/config.local").write_text('[cache]\n    dir = "../it\'s, #1"\n')
    place.synchronize(take_snapshot(project))
    with Repo(str(place.project)) as repo:
        assert Path(repo.cache.local.path).parts[-3:] == ("it's, #1", "files", "md5")


def test_the_key_of_a_run_survives_a_kill_and_ends_with_the_worktree(project: Path, place: Worktree) -> None:
    key = place.invocation()
    place.synchronize(take_snapshot(project))
    assert place.invocation() == key
    place.remove()
    place.synchronize(take_snapshot(project))
    assert place.invocation() != key


def test_a_project_in_a_folder_of_its_repository_has_its_files_in_that_folder(tmp_path: Path) -> None:
    project = tmp_path / "sub/project"
    project.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    Repo.init(str(project), subdir=True).close()
    for name in ("params.yaml", "dvc.yaml"):
        (project / name).write_text("a: 1\n")
    (tmp_path / ".gitignore").write_text(".state\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "start")
    (project / "params.yaml").write_text("a: 2\n")
    created = Worktree(project, "x")
    created.synchronize(take_snapshot(project))
    assert created.project == project / ".state/experiments/x/sub/project"
    assert (created.project / "params.yaml").read_text() == "a: 2\n"


def test_the_same_experiment_twice_is_refused_and_the_holder_named(project: Path) -> None:
    with opened(project, "x"), pytest.raises(UserError, match=rf"running already: process {os.getpid()} on"):
        opened(project, "x").__enter__()
    with opened(project, "x"), opened(project, "y"):
        pass


def test_the_last_processes_of_a_killed_experiment_are_waited_for(project: Path) -> None:
    """DVC inherits the lock: it may live on for a moment after `decant experiment` was killed."""
    script = (
        "import subprocess, sys\nfrom pathlib import Path\nfrom decant.core.locks import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'x') as lock:\n"
        "    subprocess.Popen(['sleep', '0.5'], pass_fds=[lock])\n"
        "    import os; os.kill(os.getpid(), 9)\n"
    )
    file = project / worktree.EXPERIMENTS / "x.lock"
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", script, str(file)], check=False)
    assert json.loads(file.read_text())["pid"]
    with opened(project, "x"):
        assert time.monotonic() - start > 0.4


def test_metadata_that_a_killed_git_left_incomplete_is_removed(project: Path, place: Worktree) -> None:
    metadata = project / ".git/worktrees" / place.name
    (metadata / "gitdir").unlink()
    shutil.rmtree(place.folder)
    place.synchronize(take_snapshot(project))
    assert (place.project / "params.yaml").read_text() == (project / "params.yaml").read_text()


def test_a_copied_project_leaves_the_worktree_of_the_original_alone(
    project: Path, place: Worktree, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(project, tmp_path / "copy", symlinks=True))
    Worktree(copied, place.name).remove()
    assert git(place.project, "rev-parse", "HEAD") == git(project, "rev-parse", "HEAD")
