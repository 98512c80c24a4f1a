"""What becomes of a finished experiment: a DVC experiment always; the user's files if they are those that it ran with.

The outputs are renamed into the project, then dvc.lock and provenance.json are replaced. A journal, written before,
lets the next command complete what a kill interrupted.
"""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from decant.core.files import copy_atomically, write_atomically
from decant.core.resume import UPSTREAM
from decant.workspace.dvc_locks import DAMAGE, RWLOCK, is_alive, read_holders
from decant.workspace.git import Git
from decant.workspace.snapshot import RECORDS, Snapshot, take_snapshot
from decant.workspace.worktree import Worktree

JOURNAL = Path(".state/apply.json")
LOCK = Path(".state/apply.lock")
REPLACED = Path(".state/replaced")
"""Where outputs go that were replaced, until they are deleted."""


def save(worktree: Worktree, snapshot: Snapshot, name: str) -> None:
    """Save files and records as the DVC experiment `name`: a commit under refs/exps, where DVC's commands see it."""
    git, tree = Git(worktree.project, **author(worktree.root)), take_snapshot(worktree.project).tree
    commit = git("commit-tree", tree, "-p", snapshot.commit, "-m", f"decant: experiment {name}")
    base = snapshot.commit
    git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", commit.strip())


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
        if take_snapshot(root).inputs != snapshot.inputs:
            return "files here changed while the experiment ran"
        if pid := running_dvc(root):
            return f"DVC runs here (process {pid})"
        write_atomically(root / JOURNAL, json.dumps({"project": str(worktree.project)}).encode())
        complete(root)
    return ""


def complete_interrupted(root: Path) -> None:
    """Complete an `apply` that was killed."""
    if (root / JOURNAL).exists():
        with FileLock(root / LOCK):
            if (root / JOURNAL).exists():  # not completed by another process in the meantime
                complete(root)


def complete(root: Path) -> None:
    """Do what the journal says; a second time changes nothing."""
    project = Path(json.loads((root / JOURNAL).read_text())["project"])
    for stage in UPSTREAM:
        if (project / "data" / stage).exists():
            move(project / "data" / stage, root / "data" / stage, root / REPLACED)
    for name in RECORDS:
        if (project / name).exists():
            copy_atomically(project / name, root / name)
    (root / JOURNAL).unlink()
    shutil.rmtree(root / REPLACED, ignore_errors=True)


def move(source: Path, target: Path, replaced: Path) -> None:
    """Rename a folder to `target`; what is there goes to the folder `replaced`."""
    replaced.mkdir(parents=True, exist_ok=True)
    old = replaced / target.name
    if target.exists():
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
