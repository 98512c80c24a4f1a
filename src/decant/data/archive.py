"""The files in a zip or tar archive, in memory: nothing is unpacked to disk."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO, Any

from decant.core.errors import UserError
from decant.data import some

UNREADABLE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, KeyError, NotImplementedError),  # a link to nothing; an unknown compression
    *(RecursionError, struct.error),  # a link to itself; a field that is cut off
)


OPENERS: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""By the first bytes of a compressed tar."""
MOST, RATIO = 2 << 30, 100
"""An archive may hold so many bytes, or else so many times its own size."""


def unpacked(path: str, content: bytes) -> dict[str, bytes]:
    """Name (relative, with /) to bytes, for every file in the archive `content`.

    `path` names the archive in messages.

    Raises:
        UserError: not an archive, damaged, encrypted; members that point outside, links; too much when unpacked.
    """
    most = max(MOST, RATIO * len(content))
    try:
        members = _zip(path, content, most) if content.startswith(b"PK") else _tar(path, content, most)
    except TooLarge as error:
        raise UserError(
            f"{path} holds more than {most >> 20:,} MiB in {len(content) >> 10:,} KiB, as archives do that are made to "
            "fill a machine; if you trust it, unpack it and give the folder"
        ) from error
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0]  # tarfile tells one per compression
        raise UserError(
            f"{path} does not unpack as a zip or tar archive: {reason}; get it again, or unpack it and give the folder"
        ) from error
    return {str(PurePosixPath(name)): data for name, data in members.items()}


class TooLarge(Exception):
    """More bytes than an archive may hold."""


class Bounded(io.BufferedIOBase):
    """The first `most` bytes of a file that is read, and sought, forwards."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.most = file, most

    def read(self, size: int | None = -1) -> bytes:
        """See `io.BufferedIOBase`."""
        left = self.most - self.file.tell()
        if size is not None and size > left:
            raise TooLarge
        data = self.file.read(left + 1 if size is None or size < 0 else size)
        if len(data) > left:
            raise TooLarge
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        """See `io.BufferedIOBase`."""
        if place > self.most:
            raise TooLarge
        return self.file.seek(place, whence)

    def tell(self) -> int:
        """See `io.BufferedIOBase`."""
        return self.file.tell()


def _zip(path: str, content: bytes, most: int) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # some Windows programs write backslashes
        members = {m.filename.replace("\\", "/"): m for m in archive.infolist()}
        members = {name: m for name, m in members.items() if not name.endswith("/")}
        problems = _outside(path, members)
        if locked := [n for n, m in members.items() if m.flag_bits & 1]:
            problems.append(f"{path}: {some(locked)} encrypted, expected none; unpack it and give the folder")
        # of the others, zipfile unpacks more than it is asked for
        if odd := [n for n, m in members.items() if m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]:
            problems.append(f"{path}: {some(odd)} compressed by other than deflate; unpack it and give the folder")
        if problems:
            raise UserError(problems)
        if sum(m.file_size for m in members.values()) > most:
            raise TooLarge
        return {name: _read(archive, member) for name, member in members.items()}


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        return file.read(member.file_size + 1)  # without a number it would unpack all that there is


def _tar(path: str, content: bytes, most: int) -> dict[str, bytes]:
    opener = next((o for start, o in OPENERS.items() if content.startswith(start)), None)
    plain = opener(io.BytesIO(content)) if opener else io.BytesIO(content)
    with tarfile.open(fileobj=Bounded(plain, most), mode="r:") as archive:
        members = {m.name: m for m in archive if not m.isdir()}
        _require_end(archive)
        problems = _outside(path, members)
        # a hard link is how tar stores the second of two equal files
        if odd := [n for n, m in members.items() if not (m.isfile() or m.islnk())]:
            problems.append(f"{path}: {some(odd)} links or devices, expected files; pack it anew without them")
        if problems:
            raise UserError(problems)
        files: dict[str, bytes] = {}
        for name, member in members.items():
            most -= member.size  # of one with holes, more than there is in the archive
            if most < 0:
                raise TooLarge
            file = archive.extractfile(member)
            files[name] = file.read() if file else b""
            most -= len(files[name]) - member.size  # of a link, whose own size is 0
        return files


def _require_end(archive: tarfile.TarFile) -> None:
    """Refuse what `tarfile` reads in part: at a damaged header or a lost end it stops in silence."""
    assert archive.fileobj
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it is damaged or cut off")


def _outside(path: str, names: Iterable[str]) -> list[str]:
    # the Windows flavour knows both kinds of separators, and drives
    places = {name: PureWindowsPath(name) for name in names}
    bad = [name for name, place in places.items() if place.anchor or ".." in place.parts or not place.parts]
    return [f"{path}: {some(bad)} outside the archive, expected relative paths; do not trust it"] if bad else []
