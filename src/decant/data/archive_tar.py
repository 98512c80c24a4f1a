"""Tar archives, compressed or not."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from typing import Any

from decant.core.errors import UserError
from decant.data import count_files
from decant.data.archive_limits import BoundedReader, TooLarge, path_problems

OPENERS: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""By the first bytes of a compressed tar."""


def read_tar(path: str, content: bytes, limit: int) -> dict[str, bytes]:
    """{name: bytes} of the files in a tar archive; see `read_archive`."""
    opener = next((o for start, o in OPENERS.items() if content.startswith(start)), None)
    uncompressed = opener(io.BytesIO(content)) if opener else io.BytesIO(content)
    with tarfile.open(fileobj=BoundedReader(uncompressed, limit), mode="r:") as archive:
        members = {m.name: m for m in archive if not m.isdir()}
        _require_end(archive)
        problems = path_problems(path, members)
        # hard links are allowed: tar stores the second of two equal files as one
        if links := [n for n, m in members.items() if not (m.isfile() or m.islnk())]:
            names = count_files(links)
            problems.append(f"{path}: {names} links or devices, expected files; pack it again without them")
        if problems:
            raise UserError(problems)
        return _read_members(archive, members, limit)


def _read_members(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], limit: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    remaining = limit
    for name, member in members.items():
        remaining -= member.size  # a sparse file is larger than its bytes in the archive
        if remaining < 0:
            raise TooLarge
        file = archive.extractfile(member)
        files[name] = file.read() if file else b""
        remaining -= len(files[name]) - member.size  # a hard link has the size 0
    return files


def _require_end(archive: tarfile.TarFile) -> None:
    """Refuse a damaged header or a missing end, where `tarfile` silently stops reading."""
    assert archive.fileobj
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it is damaged or cut off")
