"""What becomes of a finished experiment: a DVC experiment always; the user's files if they are those that it ran with.

The outputs are renamed into the project, then dvc.lock and provenance.json are replaced. A journal, written before,
lets the next command complete what a kill interrupted.
"""

import json
import os
import shutil
from contextlib import chdir, suppress
from pathlib import Path

from filelock import FileLock

from decant.core import valid_copies
from decant.core.errors import UserError
from decant.core.files import copy_atomically, write_atomically
from decant.core.resume import UPSTREAM
from decant.workspace.dvc_locks import DAMAGE, RWLOCK, is_alive, read_holders
from decant.workspace.git import Git
from decant.workspace.snapshot import RECORDS, Snapshot, inputs_of, take_snapshot
from decant.workspace.worktree import Worktree

JOURNAL = Path(".state/apply.json")
LOCK = Path(".state/apply.lock")
REPLACED = Path(".state/replaced")
"""Where outputs go that were replaced, until they are deleted."""


def save(worktree: Worktree, snapshot: Snapshot, name: str) -> None:
    """Save files and records as the DVC experiment `name`: a commit under refs/exps, where DVC's commands see it."""
    git, tree = Git(worktree.project, **author(worktree.root)), take_snapshot(worktree.project).tree
    commit = git("commit-tree", tree, "-p", snapshot.commit, "-m", f"decant: experiment {name}")
    git("update-ref", reference(snapshot, name), commit.strip())


def reference(snapshot: Snapshot, name: str) -> str:
    """The git reference of an experiment on the commit of a snapshot, where DVC looks for it."""
    return f"refs/exps/{snapshot.commit[:2]}/{snapshot.commit[2:]}/{name}"


def check_name(root: Path, snapshot: Snapshot, name: str, inputs: str) -> None:
    """Check that an experiment with these inputs can have a name.

    Raises:
        UserError: git cannot store it, or an experiment with other inputs has it.
    """
    git, ref = Git(root), reference(snapshot, name)
    if "/" in name or not git.succeeds("check-ref-format", ref):
        raise UserError(f"--name {name!r} is no name of an experiment, expected letters, digits, - and _")
    if git.succeeds("rev-parse", "--verify", "--quiet", ref) and inputs_of(root, f"{ref}^{{tree}}") != inputs:
        raise UserError(
            f"an experiment with other values has the name {name}; choose another name, or delete that experiment: "
            f"dvc exp remove {name}"
        )


def author(root: Path) -> dict[str, str]:
    """Variables that name an author for git, if the user has not told git one."""
    if Git(root).succeeds("var", "GIT_COMMITTER_IDENT"):
        return {}
    roles, values = ("AUTHOR", "COMMITTER"), {"NAME": "decant", "EMAIL": "decant@localhost"}
    return {f"GIT_{role}_{key}": value for role in roles for key, value in values.items()}


def apply(worktree: Worktree, snapshot: Snapshot) -> str:
    """Move outputs and records into the project; the reason if the project has to stay as it is, else empty."""
    root = worktree.root
    with FileLock(root / LOCK):
        now = take_snapshot(root)
        if (now.inputs, now.raw) != (snapshot.inputs, snapshot.raw):
            return "files here changed while the experiment ran"
        if pid := running_dvc(root):
            return f"DVC runs here (process {pid})"
        stages = [stage for stage in UPSTREAM if (worktree.project / "data" / stage).exists()]
        if reason := immovable(root, worktree.project, stages):
            return reason
        # relative: the project may be moved before an interruption is completed
        journal = {"project": os.path.relpath(worktree.project, root), "inputs": snapshot.inputs, "stages": stages}
        write_atomically(root / JOURNAL, json.dumps(journal).encode())
        complete(root, worktree.project)
    return ""


def immovable(root: Path, project: Path, stages: list[str]) -> str:
    """Why outputs cannot be renamed from a worktree into the project; empty if they can be."""
    (root / "data").mkdir(exist_ok=True)
    if len({device(folder) for folder in (root / "data", root / ".state", project / "data")}) > 1:
        return "data and .state are on different file systems, expected one"
    folders = [root / "data", *(root / "data" / stage for stage in stages)]
    denied = [folder for folder in folders if folder.is_dir() and not os.access(folder, os.W_OK)]
    return f"there is no permission to replace {denied[0]}" if denied else ""


def device(folder: Path) -> int:
    """The file system that holds a folder."""
    return folder.stat().st_dev


def complete_interrupted(root: Path) -> None:
    """Complete an `apply` that was killed; drop it if it had not begun, and the files changed.

    Raises:
        UserError: DVC runs here, the worktree is gone, or a file cannot be moved.
    """
    if not pending(root):
        return
    with FileLock(root / LOCK):
        project = pending(root)
        if not project:  # completed by another process in the meantime
            return
        if pid := running_dvc(root):
            raise UserError(f"DVC runs here (process {pid}), and the last result is incomplete; wait for its end")
        journal = json.loads((root / JOURNAL).read_text())
        begun = (root / REPLACED).exists() or not all((project / "data" / s).exists() for s in journal["stages"])
        if begun or take_snapshot(root).inputs == journal["inputs"]:
            complete(root, project)
        else:
            (root / JOURNAL).unlink()


def pending(root: Path) -> Path | None:
    """The worktree's copy of the project that an interrupted `apply` has to complete from."""
    journal = root / JOURNAL
    return root / json.loads(journal.read_text())["project"] if journal.exists() else None


def complete(root: Path, project: Path) -> None:
    """Move the outputs and copy the records of a worktree; a second time changes nothing.

    Raises:
        UserError: the worktree is gone, or a file cannot be moved.
    """
    if not project.is_dir():
        raise UserError(
            f"{JOURNAL} names {project}, which is gone; outputs that it replaced are in {REPLACED}: move them back to "
            f"data/ if they are missing there, and delete {JOURNAL}"
        )
    try:
        _move_all(project, root)
    except OSError as error:
        raise UserError(
            f"the result in {project} cannot be moved to {root}: {error}; correct that, and run the same command again"
        ) from error
    (root / JOURNAL).unlink()
    shutil.rmtree(root / REPLACED, ignore_errors=True)


def _move_all(project: Path, root: Path) -> None:
    for stage in UPSTREAM:
        if (project / "data" / stage).exists():
            move(project / "data" / stage, root / "data" / stage, root / REPLACED)
    for name in RECORDS:
        if (project / name).exists():
            copy_atomically(project / name, root / name)
    with chdir(root):
        valid_copies.save()


def move(source: Path, target: Path, replaced: Path) -> None:
    """Rename a folder to `target`; what is there goes to the folder `replaced`."""
    replaced.mkdir(parents=True, exist_ok=True)
    old = replaced / target.name
    if target.exists() or target.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def running_dvc(root: Path) -> int:
    """The process of a DVC command that reads or writes outputs in `root`; 0: none."""
    with suppress(OSError, *DAMAGE):
        file = root / RWLOCK
        return next((holder["pid"] for holder in read_holders(file) if is_alive(holder, file)), 0)
    return 0
