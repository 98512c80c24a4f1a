"""Files of a queue on disk: what a process that was killed left in them is read without its last, incomplete part."""

import shutil
from pathlib import Path


def read_lines(file: Path) -> list[bytes]:
    """The lines of a file, without an incomplete last one; empty if there is no file."""
    content = file.read_bytes() if file.exists() else b""
    return content.split(b"\n")[:-1]


def read_number(file: Path, most: int) -> int:
    """The number in a file; 0 if it holds none, or one above `most`."""
    content = file.read_bytes().strip() if file.exists() else b""
    return number if content.isdigit() and (number := int(content)) <= most else 0


def copy(source: Path, folder: Path) -> Path:
    """Copy a file or folder into a new folder; the path of the copy."""
    folder.mkdir()
    copy_path = shutil.copytree if source.is_dir() else shutil.copy
    copy_path(source, folder / source.name)
    return folder / source.name
