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


def writable(folder: Path) -> None:
    """Make sure that `folder` can be made and written, before any work.

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
    """A new folder that takes the place of `folder` when the block ends well; else nothing changes.

    Ranks above 0 get a folder that is thrown away.
    """
    if rank():
        with tempfile.TemporaryDirectory() as elsewhere:
            yield Path(elsewhere)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield fresh
        shared(fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def shared(folder: Path) -> None:
    """Give all in `folder` the usual mode: temporary folders, and weights that safetensors wrote, are private."""
    mask = os.umask(0)
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def write_json(file: Path, value: Any) -> None:
    """Sorted and indented: equal values have equal bytes."""
    file.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def read_json(file: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise UserError(
            f"{file} is damaged, no JSON ({error}); get it again, or, if a stage made it, run: dvc repro"
        ) from error
