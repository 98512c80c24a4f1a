"""Columns of a table: which are used, as text, and which rows they select."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from decant.core.errors import UserError
from decant.data.formats import separator_advice


def select_columns(path: str, frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The columns `names` of `frame`, each once.

    Raises:
        UserError: a column does not exist, or its name is there twice.
    """
    if missing := [c for c in names if c not in frame]:
        raise UserError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has: {', '.join(map(repr, frame))}. "
            + (separator_advice(frame) or "Name the columns in conf/data/ with input:, target: and row_id:")
        )
    if duplicates := [c for c in names if c in frame.attrs.get("duplicate_names", [])]:
        raise UserError(f"{path}: two columns are called {duplicates[0]!r}; expected one: rename the other")
    return frame[list(dict.fromkeys(names))]


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


def filter_rows(path: str, frame: pd.DataFrame, conditions: dict[str, Any]) -> pd.DataFrame:
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
