"""Image columns: bytes, Hugging Face's struct of bytes and path, or the path of a file."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from decant.core.errors import UserError
from decant.data import some


def inputs(cells: Iterable[Any], size: int | None, where: str, read: Callable[[str], bytes] | None) -> list[Any]:
    """The contract's column `input`: text as it is, or with `size` the encoded bytes of every image.

    `read` gives the bytes behind a path, as the cells spell it; none: paths are refused. `where` names the table in
    messages. An empty cell gives b"".

    Raises:
        UserError: images without `size`; files that cannot be read, together; other types.
    """
    cells = list(cells)
    if size is None:
        if any(isinstance(cell, bytes) or _struct(cell) for cell in cells):
            raise UserError(f"{where} holds images as input, expected text; set size: (pixels) in conf/data/")
        if odd := {type(cell).__name__ for cell in cells if isinstance(cell, dict | list | np.ndarray)}:
            raise UserError(f"{where} holds {', '.join(odd)} as input, expected text; name another column with input:")
        return cells
    cells = [cell["bytes"] or cell.get("path") if _struct(cell) else cell for cell in cells]
    if odd := {type(c).__name__ for c in cells if not (isinstance(c, bytes | str) or _missing(c))}:
        raise UserError(
            f"{where} holds {', '.join(sorted(odd))} as input, expected images (size: is set): encoded bytes, "
            "or paths of files; name another column with input:, or remove size:"
        )
    if read is None and (paths := [cell for cell in cells if isinstance(cell, str)]):
        raise UserError(
            f"{where} is on another machine and names {some(paths)}, which no digest would check; expected encoded "
            "bytes in the table: download all, and give it by its path"
        )
    found, lacking = [], []
    for cell in cells:
        try:
            found.append(read(cell) if isinstance(cell, str) and read else cell if isinstance(cell, bytes) else b"")
        except (OSError, UserError):
            lacking.append(cell)
    if lacking:
        raise UserError(
            f"{where}: {some(lacking)} cannot be read; expected image files: put them there, or correct the "
            "paths (those in a table start at its folder)"
        )
    return found


def _struct(cell: Any) -> bool:
    return isinstance(cell, dict) and "bytes" in cell and cell.keys() <= {"bytes", "path"}


def _missing(cell: Any) -> bool:
    return cell is None or cell != cell  # NaN, the only value that differs from itself
