"""Files and folders: JSON with equal bytes for equal values, and folders that are replaced as a whole."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from decant.core.errors import UserError
from decant.core.processes import rank


def check_writable(folder: Path) -> None:
    """Make sure that `folder` can be created and written, before any work.

    Raises:
        UserError: it cannot.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file")
        tempfile.TemporaryFile(dir=folder if folder.exists() else folder.parent).close()
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}; free the path, or correct its owner and mode") from error


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder that replaces `folder` when the block succeeds; when it fails, `folder` is unchanged.

    Ranks above 0 get a temporary folder.
    """
    if rank():
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield new
        set_default_modes(new)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def set_default_modes(folder: Path) -> None:
    """Give `folder` and all files in it the default mode: temporary folders, and files of safetensors, are private."""
    mask = os.umask(0)
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file that has its old content or all of the new one at every moment, also after a kill or power loss."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as opened:
            opened.write(content)
            os.fsync(opened.fileno())
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def copy_atomically(source: Path, target: Path) -> None:
    """`write_atomically` with the content of another file."""
    write_atomically(target, source.read_bytes())


def write_json(file: Path, value: object) -> None:
    """Write sorted, indented JSON: equal values have equal bytes."""
    file.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def read_json(file: Path) -> Any:
    """The value in a JSON file.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{file} is damaged, no JSON ({error}); get it again, or, if a stage made it, run: dvc repro"
        ) from error
