"""How a file of a user is read: regular files alone, of bounded size, and errors of libraries as sentences."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from decant.core.errors import UserError

KINDS: dict[Callable[[int], bool], str] = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}
"""What a path can name besides a regular file."""
MEMORY_SHARE = 4
"""A file is read as a whole, into one part of this many of the free memory: parsed, it is several times as large."""
CHUNK = 64 << 20
LONGEST_REASON = 300
"""Characters of a library's message: some repeat the damaged file."""


def memory_limit() -> int:
    """The bytes that a file which is read as a whole may have."""
    return psutil.virtual_memory().available // MEMORY_SHARE


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file; at most `limit` (default: what fits into memory).

    Raises:
        FileNotFoundError: there is nothing at `path`.
        UserError: it is no regular file, has more than `limit` bytes, or cannot be read.
    """
    most = memory_limit() if limit is None else limit
    try:
        _require_regular(path, path.stat())  # to open a device may already do something
        # a pipe in place of the file, since then, would block
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            _require_regular(path, status)
            if status.st_size > most:
                raise too_large(path, status.st_size, most, limit is None)
            content = file.read(status.st_size + 1) or b""
    except FileNotFoundError:
        if path.is_symlink():
            raise UserError(
                f"{path} is a link to {path.readlink()}, where there is nothing; correct the link"
            ) from None
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read: {reason}; check the path and its permissions") from error
    if len(content) > status.st_size:
        raise UserError(f"{path} grows while it is read, expected a file that is complete; copy it, and name the copy")
    return content


def read_stream(name: str, file: IO[bytes]) -> bytes:
    """The bytes of a download, whose size is not known before.

    Raises:
        UserError: they do not fit into memory.
    """
    content, most = bytearray(), memory_limit()
    while chunk := file.read(CHUNK):
        content += chunk
        if len(content) > most:
            raise too_large(name, len(content), most, of_memory=True)
    return bytes(content)


def too_large(path: Path | str, size: int, limit: int, of_memory: bool) -> UserError:
    """The error about a file with more bytes than its kind, or the memory, allows."""
    reason = f" (1/{MEMORY_SHARE} of the free memory: it is read as a whole)" if of_memory else ""
    return UserError(f"{path} has {size:,} bytes or more, expected at most {limit:,}{reason}; give a smaller file")


def _require_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in KINDS.items() if is_kind(status.st_mode)), "no file")
        raise UserError(
            f"{path} cannot be read: it is {kind}, expected a regular file; check the path, or copy it to one"
        )


@contextmanager
def parsing(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises inside, on the content of a user's file, into a sentence.

    `what`: the file, or its place, and what failed: "a.csv does not parse as csv". `remedy`: what was expected, and the
    next step.

    Raises:
        UserError: in place of any exception but those of exhausted memory.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        # parsers raise dozens of unrelated classes on damaged bytes, some of them plain Exception
        reason = str(error).strip().removesuffix(".")
        reason = f"{reason[:LONGEST_REASON]}..." if len(reason) > LONGEST_REASON else reason or type(error).__name__
        raise UserError(f"{what}: {reason}; {remedy}") from error
