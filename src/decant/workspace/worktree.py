"""The private worktree of one experiment, in .state/experiments/<name>.

The worktree outlives a killed experiment: the same command finds it again, with the stages that have finished and the
state of an interrupted training. A lock beside it, which DVC inherits, is held as long as the command or DVC lives; a
stage ends soon after DVC.
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from dvc.config import Config

from decant.core import valid_copies
from decant.core.files import write_atomically
from decant.core.locks import exclusive
from decant.workspace.dvc_locks import RWLOCK
from decant.workspace.git import Git
from decant.workspace.snapshot import RECORDS, Snapshot

EXPERIMENTS = Path(".state/experiments")
CACHE_KEYS = ("dir", "type", "shared")
"""DVC's settings of the cache that a worktree takes from the project."""


class Worktree:
    """The worktree of the experiment `name` of the project in `root`; call `opened` to get one."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.folder = root / EXPERIMENTS / name
        prefix = Git(root)("rev-parse", "--show-prefix").strip()
        self.project = self.folder / prefix
        """The project's copy: the worktree, or a folder in it if the project is one in its repository."""
        self.lock = -1
        """The file descriptor that holds the lock; processes that inherit it hold the lock, too."""

    def synchronize(self, snapshot: Snapshot) -> None:
        """Give the worktree the files of a snapshot; its outputs and records, and the state of trainings, stay."""
        self._create()
        git = Git(self.project)
        for lock in ("index.lock", "HEAD.lock"):  # left by a killed git: nobody else works here
            Path(self.project, git("rev-parse", "--git-path", lock).strip()).unlink(missing_ok=True)
        (self.project / RWLOCK).unlink(missing_ok=True)  # DVC writes it in place, too
        with chdir(self.project):
            valid_copies.save()  # DVC writes dvc.lock in place, and may have been killed in the midst
            git("update-ref", "--no-deref", "HEAD", snapshot.commit)
            git("read-tree", "--reset", "-u", snapshot.tree)
            for name in RECORDS:
                valid_copies.restore(name)
        self._link(snapshot.linked)
        self._share_cache()

    def _create(self) -> None:
        git = Git(self.root)
        # a second folder tells whether the first was completed
        complete = self.project.joinpath(valid_copies.FOLDER).is_dir() and Git(self.folder).succeeds(
            "rev-parse", "HEAD"
        )
        if not complete:
            self.remove()
            git("worktree", "add", "--quiet", "--force", "--force", "--detach", "--no-checkout", str(self.folder))
            (self.project / valid_copies.FOLDER).mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Delete the worktree."""
        shutil.rmtree(self.folder, ignore_errors=True)
        git = Git(self.root)
        metadata = Path(self.root, git("rev-parse", "--git-path", f"worktrees/{self.name}").strip())
        named = metadata / "gitdir"  # missing if git was killed while it created the worktree
        place = Path(named.read_text().strip()) if named.exists() else None
        if place is None or place == self.folder / ".git" or not place.exists():  # a copied project has another's
            shutil.rmtree(metadata, ignore_errors=True)

    def _link(self, paths: tuple[str, ...]) -> None:
        for old in Git(self.project).files("--others"):
            if (self.project / old).is_symlink():
                (self.project / old).unlink()
        for path in paths:
            link = self.project / path
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():  # a folder of it may be tracked in the meantime
                link.symlink_to((self.root / path).absolute())

    def _share_cache(self) -> None:
        cache = Config(str(self.root / ".dvc"))["cache"]
        shared = {key: cache[key] for key in CACHE_KEYS if cache.get(key)}
        with Config(str(self.project / ".dvc")).edit("local") as config:
            config["cache"] = {**shared, "dir": str(shared.get("dir", self.root / ".dvc/cache"))}

    def invocation(self) -> str:
        """The key of the experiment's run in MLflow: the same after a kill."""
        file = self.project / ".state/invocation"
        if not file.exists():
            write_atomically(file, str(uuid.uuid4()).encode())
        return file.read_text()


@contextmanager
def opened(root: Path, name: str) -> Iterator[Worktree]:
    """The worktree of an experiment, locked.

    Raises:
        UserError: the same experiment is running.
    """
    worktree = Worktree(root, name)
    file = worktree.folder.with_name(f"{name}.lock")
    with exclusive(file, "experiments with other values can run now, but this one is running") as worktree.lock:
        yield worktree
