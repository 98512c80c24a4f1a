"""Git in a folder of a test."""

import os
import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """The output of `git <arguments>`, with an author for commits."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


WRITTEN = {".git", ".state", ".dvc", "data/prepare", "data/pretrain_load", "data/fine_tune", "data/distill"}
WRITTEN |= {
    "data/evaluate",
    "dvc.lock",
    "provenance.json",
    "mlflow.db",
    "mlflow.db.lock",
    "mlflow.db-journal",
    "mlartifacts",
}
"""What an experiment may write in a project."""


def user_state(root: Path) -> dict[str, object]:
    """HEAD, branches, index, stash and all files of the user as bytes."""
    files: dict[str, object] = {}
    for folder, names, contents in os.walk(root):
        inside = Path(folder).relative_to(root)
        names[:] = [name for name in names if str(inside / name) not in WRITTEN]
        for name in contents:
            if str(inside / name) not in WRITTEN:
                files[str(inside / name)] = (root / inside / name).read_bytes()
    refs = git(root, "for-each-ref", "refs/heads", "refs/stash"), git(root, "stash", "list")
    return files | {name: (root / ".git" / name).read_bytes() for name in ("index", "HEAD")} | {"refs": refs}
