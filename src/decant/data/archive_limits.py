"""What is refused in any archive: too many bytes, and paths that point outside."""

import io
from collections.abc import Iterable
from pathlib import PureWindowsPath
from typing import IO

from decant.data import count_files

MAX_BYTES = 2 << 30
"""Size of the unpacked files that every archive may reach."""
MAX_RATIO = 100
"""How many times its own size a larger archive may unpack to."""


class TooLarge(Exception):
    """The archive unpacks to more bytes than allowed."""


def size_limit(content: bytes) -> int:
    """How many bytes an archive may unpack to."""
    return max(MAX_BYTES, MAX_RATIO * len(content))


class BoundedReader(io.BufferedIOBase):
    """A file that raises `TooLarge` when more than its first `limit` bytes are read or skipped."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file, self.limit = file, limit

    def read(self, size: int | None = -1) -> bytes:
        """See `io.BufferedIOBase`."""
        remaining = self.limit - self.file.tell()
        if size is not None and size > remaining:
            raise TooLarge
        data = self.file.read(remaining + 1 if size is None or size < 0 else size)
        if len(data) > remaining:
            raise TooLarge
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """See `io.BufferedIOBase`."""
        if position > self.limit:
            raise TooLarge
        return self.file.seek(position, whence)

    def tell(self) -> int:
        """See `io.BufferedIOBase`."""
        return self.file.tell()


def path_problems(archive: str, names: Iterable[str]) -> list[str]:
    """Problems with paths that are absolute, empty or point outside the archive."""
    # PureWindowsPath knows both kinds of separators, and drives
    paths = {name: PureWindowsPath(name) for name in names}
    bad = [name for name, path in paths.items() if path.anchor or ".." in path.parts or not path.parts]
    if not bad:
        return []
    return [f"{archive}: {count_files(bad)} outside the archive, expected relative paths; do not trust it"]
