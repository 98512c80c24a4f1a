"""dvc.lock, params.yaml and provenance.json: a kill in the midst of a write leaves them empty or cut."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from decant.commands.checks.finding import HEAL, Finding, quarantine
from decant.core import valid_copies
from decant.core.files import write_atomically
from decant.workspace.git import Git


def check() -> Iterator[Finding]:
    """Files that are there and damaged."""
    for name in valid_copies.FILES:
        problem = valid_copies.damage(name, Path(name).read_bytes()) if Path(name).is_file() else ""
        if not problem:
            continue
        restored = valid_copy(name)
        if restored:
            content, origin = restored
            yield Finding(f"{name} {problem}", f"{HEAL} restores {origin}", partial(restore, name, content, origin))
        else:
            yield Finding(
                f"{name} {problem}", f"there is no valid copy here or in git: write it again, or delete {name}"
            )


def valid_copy(name: str) -> tuple[bytes, str] | None:
    """The last valid content of a file and where it is from; None: there is none."""
    if content := valid_copies.saved(name):
        return content, "the copy that the last stage saved at its start"
    git = Git(Path())
    if git.succeeds("cat-file", "-e", f"HEAD:./{name}"):
        committed = git("show", f"HEAD:./{name}").encode()
        if not valid_copies.damage(name, committed):
            return committed, "the file as it is committed: what changed since then is lost"
    return None


def restore(name: str, content: bytes, origin: str) -> str:
    """Put the damaged file away, and write the valid content."""
    damaged = quarantine(Path(name))
    write_atomically(Path(name), content)
    return f"{name} is restored: {origin}; the damaged file is {damaged}"
