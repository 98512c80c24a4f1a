"""A small project under git and DVC, of whose files nothing may change."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo
from support.git import git


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A copy of `template`."""
    return Path(shutil.copytree(template, tmp_path / "it's my project"))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a commit, uncommitted edits, a staged file, a stash, and files that git does not know."""
    root = tmp_path_factory.mktemp("template")
    for name in ("conf", "src", "data/raw", ".state"):
        (root / name).mkdir(parents=True)
    git(root, "init", "-q")
    Repo.init(str(root)).close()
    (root / ".gitignore").write_text(".state\n*.bin\n/data/prepare\n/data/evaluate\n")
    for name in ("params.yaml", "conf/a.yaml", "src/a.py", "data/raw/a.csv", "README.md"):
        (root / name).write_text(f"{name}: 1\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    (root / "README.md").write_text("stashed")
    git(root, "stash")
    (root / "params.yaml").write_text("params.yaml: edited\n")
    (root / "conf/new.yaml").write_text("new")
    (root / "data/raw/new.csv").write_text("new")
    (root / "data/raw/deep").mkdir()
    (root / "data/raw/deep/ignored.bin").write_text("ignored")
    (root / "weights").mkdir()
    (root / "weights/model.bin").write_text("weights")
    (root / "src/staged.py").write_text("staged")
    git(root, "add", "src/staged.py")
    (root / "src/a.py").unlink()
    return root


@pytest.fixture
def state(project: Path) -> Callable[[], object]:
    """HEAD, branch, index, stash and all files of the user as bytes, at the moment of the call."""

    def read() -> object:
        files = [f for f in sorted(project.rglob("*")) if f.is_file() and not {".git", ".state", ".dvc"} & {*f.parts}]
        return (
            {str(f): f.read_bytes() for f in files},
            (project / ".git/index").read_bytes(),
            (project / ".git/HEAD").read_bytes(),
            git(project, "for-each-ref", "refs/heads", "refs/stash"),
        )

    return read
