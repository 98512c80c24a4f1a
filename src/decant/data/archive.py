"""The files in a zip or tar archive, in memory: nothing is unpacked to disk."""

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath

import psutil

from decant import UserError
from decant.data import some

UNREADABLE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, KeyError, NotImplementedError),  # a link to nothing; an unknown compression
)


def unpacked(path: str, content: bytes) -> dict[str, bytes]:
    """Name (relative, with /) to bytes, for every file in the archive `content`.

    `path` names the archive in messages.

    Raises:
        UserError: not an archive, damaged, encrypted; members that point outside, links.
    """
    try:
        members = _zip(path, content) if content.startswith(b"PK") else _tar(path, content)
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0]  # tarfile tells one per compression
        raise UserError(
            f"{path} does not unpack as a zip or tar archive: {reason}; get it again, or unpack it and give the folder"
        ) from error
    return {str(PurePosixPath(name)): data for name, data in members.items()}


def _zip(path: str, content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # some Windows programs write backslashes
        members = {m.filename.replace("\\", "/"): m for m in archive.infolist() if not m.is_dir()}
        problems = _outside(path, members)
        if locked := [n for n, m in members.items() if m.flag_bits & 1]:
            problems.append(f"{path}: {some(locked)} encrypted, expected none; unpack it and give the folder")
        problems += _larger(path, (m.file_size for m in members.values()))
        if problems:
            raise UserError(problems)
        return {name: archive.read(member) for name, member in members.items()}


def _tar(path: str, content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {m.name: m for m in archive if not m.isdir()}
        _require_end(archive)
        problems = _outside(path, members)
        # a hard link is how tar stores the second of two equal files
        if odd := [n for n, m in members.items() if not (m.isfile() or m.islnk())]:
            problems.append(f"{path}: {some(odd)} links or devices, expected files; pack it anew without them")
        problems += _larger(path, (m.size for m in members.values()))
        if problems:
            raise UserError(problems)
        files = {name: archive.extractfile(member) for name, member in members.items()}
        return {name: file.read() if file else b"" for name, file in files.items()}


def _require_end(archive: tarfile.TarFile) -> None:
    """Refuse what `tarfile` reads in part: at a damaged header or a lost end it stops in silence."""
    assert archive.fileobj
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it is damaged or cut off")


def _outside(path: str, names: Iterable[str]) -> list[str]:
    # the Windows flavour knows both kinds of separators, and drives
    bad = [n for n in names if PureWindowsPath(n).anchor or ".." in PureWindowsPath(n).parts]
    return [f"{path}: {some(bad)} outside the archive, expected relative paths; do not trust it"] if bad else []


def _larger(path: str, sizes: Iterable[int]) -> list[str]:
    """Refuse what does not fit into memory: a small archive can unpack to any size."""
    total, free = sum(sizes), psutil.virtual_memory().available
    if total <= free:
        return []
    return [
        f"{path} unpacks to {total / 1e9:,.0f} GB, but {free / 1e9:,.0f} GB of memory are free; unpack it and give the "
        "folder, unless you do not trust it"
    ]
