"""Columns of a table: which are used, as text, and which rows they select."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from decant.core.errors import UserError
from decant.core.reading import parsing
from decant.data.formats import separator_advice
from decant.data.limits import MAX_CELL, MAX_IMAGE_BYTES, MAX_LABELS

PLAIN = (str, bytes, bool, int, float, np.generic, list, dict, np.ndarray)
"""Types of cells that stay as they are."""
BOUNDS: list[tuple[Any, str, int]] = [
    (str, "characters", MAX_CELL),
    (bytes, "bytes", MAX_IMAGE_BYTES),
    ((list, np.ndarray), "values", MAX_LABELS),
]
"""How large a cell of each type may be."""


def select_columns(path: str, frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The columns `names` of `frame`, each once, with the types that JSON has, and bytes.

    Raises:
        UserError: a column does not exist, or its name is there twice; a cell is too large, or has no text form.
    """
    if missing := [c for c in names if c not in frame]:
        raise UserError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has: {', '.join(map(repr, frame))}. "
            + (separator_advice(frame) or "Name the columns in conf/data/ with input:, target: and row_id:")
        )
    if duplicates := [c for c in names if c in frame.attrs.get("duplicate_names", [])]:
        raise UserError(f"{path}: two columns are called {duplicates[0]!r}; expected one: rename the other")
    return pd.DataFrame({name: plain_cells(path, frame[name]) for name in dict.fromkeys(names)}, frame.index)


def plain_cells(path: str, column: "pd.Series") -> "pd.Series":
    """A column of texts, bytes, numbers, lists and mappings: other cells, such as dates, as text.

    Raises:
        UserError: a cell is too large, or has no text form.
    """
    if pd.api.types.is_numeric_dtype(column):
        return column
    require_bounded(path, column)
    if isinstance(column.dtype, pd.StringDtype):
        return column
    with parsing(f"{path}: the column of {column.name!r} has no text form", "expected text or numbers: correct it"):
        cells = [cell if isinstance(cell, PLAIN) or pd.isna(cell) else str(cell) for cell in column]
    return pd.Series(cells, column.index, dtype=object)


def require_bounded(path: str, column: "pd.Series") -> None:
    """Refuse cells that are too large: cleaning takes many times their size.

    Raises:
        UserError: with the first of them, by its row (of a CSV file from 1, after the header) and column.
    """
    for row, cell in zip(column.index, column, strict=True):
        kind, limit = next(((name, most) for types, name, most in BOUNDS if isinstance(cell, types)), ("", 0))
        if kind and len(cell) > limit:
            raise UserError(
                f"{path}, row {row + 1}, column {column.name!r}: a cell of {len(cell):,} {kind}, expected at most "
                f"{limit:,}; shorten it, or remove the row"
            )


def as_text(path: str, column: "pd.Series") -> "pd.Series[str]":
    """A column as text.

    Raises:
        UserError: bytes that are not text.
    """
    try:
        return column.astype("string")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the column of {column.name!r} holds bytes, expected text or numbers") from error


def join_columns(texts: pd.DataFrame) -> "pd.Series[str]":
    """One text per row, with a paragraph for each column; empty cells leave no blank lines at its ends."""
    rows = texts.astype(object).mask(texts.isna(), "").itertuples(index=False)
    return pd.Series(["\n\n".join(map(str, row)).strip() for row in rows], texts.index, dtype="str")


def filter_rows(path: str, frame: pd.DataFrame, conditions: dict[str, object]) -> pd.DataFrame:
    """The rows in which every column has the value in `conditions`, compared as text.

    Raises:
        UserError: there is none.
    """
    for column, value in conditions.items():
        cells = as_text(path, frame[column])
        if not (cells == str(value)).any():
            values = ", ".join(map(repr, sorted(cells.dropna().unique())[:10]))
            raise UserError(f"{path} has no rows where {column} is {str(value)!r}; it is one of: {values}")
        frame = frame[(cells == str(value)).fillna(False)]
    return frame
