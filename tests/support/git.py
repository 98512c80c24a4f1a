"""Git in a folder of a test."""

import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """The output of `git <arguments>`, with an author for commits."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout
