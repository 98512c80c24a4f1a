"""The user's files at one moment: tracked files as they are on disk, new files of conf/ and src/, links to the rest.

A snapshot is a tree in git's object store. Neither HEAD, nor the index, the stash or a file of the user is touched.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from decant.core.errors import UserError
from decant.workspace.git import Git

RECORDS = ("dvc.lock", "provenance.json")
"""What an experiment writes besides its outputs: no part of its inputs."""
COMMITTED = ("conf", "src")
"""Folders whose new files become part of the experiment's commit; new files elsewhere are linked."""
RAW = "data/raw"
PRIVATE = re.compile(
    r"\.(state|venv|dvc|git)(/|$)|mlflow\.db|mlartifacts/|data/(?!raw/)|(.*/)?(__pycache__|\.[a-z]+_cache|[^/]+\.egg-info)/"
)
"""Untracked paths that an experiment has for itself, or does not need."""


@dataclass(frozen=True)
class Snapshot:
    """The files of a project."""

    commit: str
    """HEAD, on which the experiment is based."""
    tree: str
    """All files in git's object store."""
    inputs: str
    """The same without `RECORDS`: equal inputs have equal ids."""
    linked: tuple[str, ...]
    """Paths of untracked files and folders to link."""
    raw: str
    """Sizes, times and inodes of those in `RAW`, as a digest: an edit there reaches an experiment that runs."""


def take_snapshot(root: Path) -> Snapshot:
    """A snapshot of the project in `root`.

    Every file is read: times in git's index are those of a second, and do not show an edit in the same one.

    Raises:
        UserError: `root` is not the top folder of a git repository with a commit.
    """
    git = Git(root)
    if not git.succeeds("rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        check_repository(git)
    committed = git("ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0")
    known = {*git.files("--cached"), *git.files("--others", "--exclude-standard", "--", *COMMITTED), *RECORDS}
    new = [path for path in sorted(known.difference(committed)) if (root / path).is_file()]
    with tempfile.TemporaryDirectory() as folder:
        private = Git(root, GIT_INDEX_FILE=str(Path(folder, "index")))
        private("read-tree", "HEAD")
        private("add", "--update")
        private("update-index", "--add", "-z", "--stdin", stdin="".join(f"{path}\0" for path in new))
        tree = private("write-tree").strip()
    linked = [path for path in untracked(git) if path not in new and not PRIVATE.match(f"{path}/")]
    commit, inputs = git("rev-parse", "HEAD").strip(), inputs_of(root, tree)
    return Snapshot(commit, tree, inputs, tuple(linked), raw_state(root, linked))


def inputs_of(root: Path, tree: str) -> str:
    """The tree without `RECORDS`."""
    with tempfile.TemporaryDirectory() as folder:
        private = Git(root, GIT_INDEX_FILE=str(Path(folder, "index")))
        private("read-tree", tree)
        private("rm", "--cached", "--force", "--quiet", "--ignore-unmatch", "--", *RECORDS)
        return private("write-tree").strip()


def raw_state(root: Path, linked: list[str]) -> str:
    """A digest that changes with any untracked file in `RAW`."""
    return digest(file_states(root / path for path in linked if path.startswith(f"{RAW}/")))


def file_states(files: Iterable[Path]) -> list[tuple[str, int, int, int]]:
    """Path, size, time of the last change and inode of each file that exists."""
    stats = [(str(file), file.stat()) for file in files if file.exists()]
    return [(path, s.st_size, s.st_mtime_ns, s.st_ino) for path, s in stats]


def digest(value: object) -> str:
    """The sha256 of the representation of a value, which may hold paths that are no UTF-8."""
    return hashlib.sha256(repr(value).encode("utf-8", "surrogateescape")).hexdigest()


def check_repository(git: Git) -> None:
    """Explain why there is no commit to start from.

    Raises:
        UserError: always.
    """
    git("rev-parse", "--git-dir")  # git's own message: no repository, or one of another owner
    raise UserError(f"{git.folder} is a git repository without a commit, expected one; run: git commit")


def untracked(git: Git) -> list[str]:
    """Untracked paths, ignored ones too: files below data/raw, elsewhere also folders as a whole.

    DVC does not follow a link to a folder: it would not notice a change in data/raw.
    """
    raw = [file for path in git.files("--others", "--", RAW) for file in files_in(git.folder, path)]
    listed = git.files("--others", "--directory")
    return sorted({*raw, *(path.rstrip("/") for path in listed if not f"{path}/".startswith(f"{RAW}/"))})


def files_in(root: Path, path: str) -> list[str]:
    """A path that git lists, or, of a repository in this one, which git lists as a folder, its files."""
    if not path.endswith("/"):
        return [path]
    files = [file for file in (root / path).rglob("*") if file.is_file()]
    return [str(file.relative_to(root)) for file in files if ".git" not in file.relative_to(root).parts]
