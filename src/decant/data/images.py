"""Image columns: encoded bytes, Hugging Face's struct of bytes and path, or the path of a file."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from decant.core.errors import UserError
from decant.core.reading import memory_limit
from decant.data import count_files


def input_column(cells: Iterable[Any], size: int | None, where: str, read: Callable[[str], bytes] | None) -> list[Any]:
    """The column `input` of `Source.load`: texts unchanged or, with `size`, the encoded bytes of each image.

    `read` returns the bytes of a path as the cells spell it; None: paths are refused. `where` names the table in
    messages. An empty cell becomes b"".

    Raises:
        UserError: images without `size`; files that cannot be read, all together; values of other types.
    """
    cells = list(cells)
    if size is None:
        _require_text(cells, where)
        return cells
    cells = [cell["bytes"] or cell.get("path") if _is_struct(cell) else cell for cell in cells]
    _require_images(cells, where, paths_allowed=read is not None)
    contents, unreadable, budget = [], {}, memory_limit()
    for cell in cells:
        try:
            contents.append(read(cell) if isinstance(cell, str) and read else cell if isinstance(cell, bytes) else b"")
            budget -= len(contents[-1])
        except (OSError, UserError) as error:
            unreadable[cell] = str(error)
        if budget < 0:
            raise UserError(
                f"{where}: the images do not fit into memory; prepare reads all of them at once: give it fewer images, "
                "or make them smaller"
            )
    if unreadable:
        raise UserError(
            f"{where}: {count_files([*unreadable])} cannot be read; expected image files: put them there, or correct "
            f"the paths (those in a table start at its folder). The first: {next(iter(unreadable.values()))}"
        )
    return contents


def _require_text(cells: list[object], where: str) -> None:
    if any(isinstance(cell, bytes) or _is_struct(cell) for cell in cells):
        raise UserError(f"{where} holds images as input, expected text; set size: (pixels) in conf/data/")
    if types := {type(cell).__name__ for cell in cells if isinstance(cell, dict | list | np.ndarray)}:
        raise UserError(f"{where} holds {', '.join(types)} as input, expected text; name another column with input:")


def _require_images(cells: list[object], where: str, paths_allowed: bool) -> None:
    if types := {type(c).__name__ for c in cells if not (isinstance(c, bytes | str) or _is_missing(c))}:
        raise UserError(
            f"{where} holds {', '.join(sorted(types))} as input, expected images (size: is set): encoded bytes, "
            "or paths of files; name another column with input:, or remove size:"
        )
    if not paths_allowed and (paths := [cell for cell in cells if isinstance(cell, str)]):
        raise UserError(
            f"{where} is on another machine and names {count_files(paths)}, which no digest would check; expected "
            "encoded bytes in the table: download everything, and give the table by its path"
        )


def _is_struct(cell: object) -> bool:
    return isinstance(cell, dict) and "bytes" in cell and cell.keys() <= {"bytes", "path"}


def _is_missing(cell: object) -> bool:
    return cell is None or cell != cell  # NaN is the only value that differs from itself
