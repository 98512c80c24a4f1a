"""Which bytes these are: sha256 of files and folders."""

import hashlib
import inspect
from pathlib import Path
from types import ModuleType


def sha256(file: Path) -> str:
    """Hexadecimal digest of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def digest(path: Path) -> str:
    """Of names and content of a file, or of all files under a folder: which output this is."""
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            total.update(f"{file.relative_to(path)}\0".encode() + bytes.fromhex(sha256(file)))
    return total.hexdigest()


def code(source: type | ModuleType) -> str:
    """md5 of the source file of a class or module: a stage writes it down where DVC watches a whole folder."""
    return hashlib.md5(Path(inspect.getfile(source)).read_bytes()).hexdigest()
