"""manifest.json: the sha256 of each file of a model directory, which is checked before the files are used.

Shipped with every logged model, so it imports only the standard library and modules of `core` that do the same.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decant.core.errors import UserError
from decant.core.hashing import sha256

FILE = "manifest.json"
REMEDY = "run: decant doctor --heal, or make it again (dvc repro), or get the model directory again"


@dataclass(frozen=True)
class Mismatch:
    """A file that is not as the manifest of its folder lists it."""

    file: Path
    expected: str | None
    """sha256 in the manifest; None: the manifest lacks the file."""
    actual: str | None
    """sha256 of the file; None: there is no such file."""

    def __str__(self) -> str:
        if self.expected is None:
            return f"{self.file} (sha256 {self.actual}) is not listed in {FILE}; move it away, or {REMEDY}"
        if self.actual is None:
            return f"{self.file} is missing, expected sha256 {self.expected} ({FILE}); {REMEDY}"
        return f"{self.file} is damaged: its sha256 is {self.actual}, expected {self.expected} ({FILE}); {REMEDY}"


def write(folder: Path, **facts: object) -> None:
    """Write the manifests of a model directory and of the folders in it; equal files have equal bytes.

    A manifest lists the files of its folder and the manifests of the folders in it. `facts`: further entries; those of
    an existing manifest stay.
    """
    for inner in _folders(folder):
        write(inner)
    digests = {name: sha256(folder / name) for name in _names(folder)}
    content = {**_content(folder), **facts, "files": digests}
    (folder / FILE).write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def verify(folder: Path, unread: Collection[str] = (), inner: str = "") -> None:
    """Check the files of a model directory; one without a manifest of decant's passes.

    Args:
        folder: the model directory.
        unread: names of files that the caller does not read.
        inner: the name of a folder in it that is read, too.

    Raises:
        UserError: every file that is damaged, missing or not listed; or the manifest itself cannot be read.
    """
    differing = list(_mismatches(folder, unread, [inner] if inner else []))
    if inner:
        differing += _mismatches(folder / inner, unread)
    if differing:
        raise UserError(str(mismatch) for mismatch in differing)


def verify_file(file: Path) -> None:
    """Check one file of a model directory.

    Raises:
        UserError: it is damaged or not listed.
        FileNotFoundError: there is no such file.
    """
    listed, actual = listed_files(file.parent), sha256(file)
    if listed is not None and listed.get(file.name) != actual:
        raise UserError(str(Mismatch(file, listed.get(file.name), actual)))


def mismatches(folder: Path) -> Iterator[Mismatch]:
    """What is wrong in a model directory and all folders in it; nothing where there is no manifest.

    Raises:
        UserError: a manifest cannot be read.
    """
    listed = [Path(name).parent.name for name in listed_files(folder) or {} if "/" in name]
    yield from _mismatches(folder, (), listed)
    for inner in _folders(folder):
        yield from mismatches(inner)


def listed_files(folder: Path) -> dict[str, str] | None:
    """{name: sha256} in the manifest of a folder; None: there is none, or one of another program.

    Raises:
        UserError: the manifest cannot be read.
    """
    files = _content(folder).get("files")
    return files if isinstance(files, dict) else None


def _mismatches(folder: Path, unread: Collection[str], inner: Collection[str] = ()) -> Iterator[Mismatch]:
    files = listed_files(folder)
    if files is None:
        return
    manifests = {f"{name}/{FILE}" for name in inner}
    present = {name for name in _names(folder) if "/" not in name or name in manifests}
    listed = {name for name in files if "/" not in name or name in manifests}
    for name in sorted((present | listed | manifests) - {*unread}):
        actual = sha256(folder / name) if (folder / name).is_file() else None
        if actual != files.get(name):
            yield Mismatch(folder / name, files.get(name), actual)


def _content(folder: Path) -> dict[str, Any]:
    file = folder / FILE
    try:
        content = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise UserError(f"{file} is damaged, no JSON ({error}); {REMEDY}") from error
    return content if isinstance(content, dict) else {}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _names(folder: Path) -> list[str]:
    """The files of a folder and the manifests of the folders in it; hidden files belong to other programs."""
    files = [path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    manifests = [f"{path.name}/{FILE}" for path in _folders(folder) if (path / FILE).is_file()]
    return sorted({*files, *manifests} - {FILE})
