"""Digests of files, folders and code."""

import hashlib
import inspect
import time
from functools import lru_cache
from pathlib import Path
from types import ModuleType

CLOCK_STEP = 1_000_000_000
"""Nanoseconds within which two changes of a file may leave the same time of change."""


def sha256(file: Path) -> str:
    """Hexadecimal digest of a file; a file that has not changed is read once per process."""
    status = file.stat()
    settled = time.time_ns() - status.st_ctime_ns > CLOCK_STEP
    read = _sha256 if settled else _sha256.__wrapped__
    return read(file.absolute(), status.st_ctime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=4096)
def _sha256(file: Path, *status: int) -> str:
    """Digest of a file; `status` tells its states apart."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def md5(file: Path) -> str:
    """Hexadecimal md5 of a file: the name that DVC gives it in its cache."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest()


def digest(path: Path) -> str:
    """Hexadecimal digest over names and contents of a file, or of all files under a folder."""
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            total.update(f"{file.relative_to(path)}\0".encode() + bytes.fromhex(sha256(file)))
    return total.hexdigest()


def code_digest(source: type | ModuleType) -> str:
    """md5 of the source file of a class or module: recorded in a manifest where DVC watches a whole folder."""
    return hashlib.md5(Path(inspect.getfile(source)).read_bytes()).hexdigest()
