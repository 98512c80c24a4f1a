"""Any CSV, TSV, JSON lines or Parquet file, by path or URL, with the columns that its yaml names."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from decant.core.errors import UserError
from decant.data import SPLITS, Source, contract, numbered
from decant.data.files import beside, fetch, remote, verify
from decant.data.formats import parse, separated
from decant.data.images import inputs
from decant.data.labels import listed, named, only


@dataclass(kw_only=True)
class Table(Source):
    """Files with one row per example."""

    train: str | None = None
    validation: str | None = None
    test: str | None = None
    unlabelled: str | None = None
    input: str | list[str]
    """Column with the input, or two for pairs of texts; with `size`: encoded images, or paths of image files,
    relative to the table's folder."""
    target: str | None = None
    """Column with the label, the number, or the list of labels; none: there are `unlabelled` rows alone."""
    join: bool = False
    """Whether several columns of input are one text, a paragraph each, and not a pair: a title and a body."""
    where: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per split, columns and the value they must have: one file can hold several splits."""
    row_id: str | None = None
    """Column with a unique id; default: the position in the file."""
    classes: list[str] | None = None
    """Keep only the labelled rows of these classes; of lists of labels, keep all rows and only these labels."""
    names: list[str] | None = None
    """Names of the classes, where the labels are 0, 1, ...: the first is the name of 0."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Expected digest per split, for files that DVC does not see (outside data/raw)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [s for s in SPLITS if getattr(self, s)]
        if not given:
            raise UserError(f"names no file; expected at least one of: {', '.join(SPLITS)}")
        if self.target is None and given != ["unlabelled"]:
            raise UserError(f"names no target:, the column with the label, which {given[0]}: needs; give it")
        if self.join and isinstance(self.input, str):
            raise UserError("join is true, but input names one column; expected a list of columns, or join: false")
        self._names("train")
        if unknown := [s for s in self.where if s not in SPLITS or not getattr(self, s)]:
            raise UserError(f"where names {', '.join(unknown)}, expected splits with a file: train, test, ...")

    @property
    def pairs(self) -> bool:
        """See `Source.pairs`."""
        return not isinstance(self.input, str) and not self.join

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`; problems of all files are raised together."""
        tables, problems = {}, []
        for split in SPLITS:
            if path := getattr(self, split):
                try:
                    tables[split] = self._read(split, path)
                except UserError as error:
                    problems += error.problems
        if problems:
            raise UserError(problems)
        return tables

    def _read(self, split: str, path: str) -> pd.DataFrame:
        content = fetch(path)
        verify(path, content, self.sha256.get(split), f"sha256: {{{split}: %s}}")
        names, wanted = self._names(split), self.where.get(split, {})
        frame = chosen(path, columns(path, parse(path, content), [*names, *wanted]), wanted)
        frame = frame[list(names)].rename(columns=names)
        if self.join:
            frame = frame.assign(input=joined(frame[[f"input {i}" for i in range(len(self.input))]]))
        if split != "unlabelled":
            frame = self._labelled(split, path, frame)
        if not isinstance(self.input, list):
            read = None if remote(path) else lambda name: fetch(beside(path, name))
            frame = frame.assign(input=inputs(frame["input"], self.size, path, read))
        return numbered(frame, split, "row_id" if self.row_id else None)

    def _names(self, split: str) -> dict[str, str]:
        return contract(self.input, self.target if split != "unlabelled" else None, self.row_id, self.join)

    def _labelled(self, split: str, path: str, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` with labels as text, or lists of text, and the chosen classes only."""
        if lists := frame["target"].map(lambda cell: isinstance(cell, list | np.ndarray)).any():
            target = listed(path, frame["target"], self.names)
        else:
            # a whole number beside an empty cell was read as 1.0
            target = spelled(path, frame["target"].convert_dtypes())
            target = named(path, target, self.names) if self.names else target
        frame = frame.assign(target=target)
        if not self.classes:
            return frame
        # a small test split need not have every label of a list
        known = set(target.explode()) if split == "train" or not lists else set(self.classes)
        if unknown := set(self.classes) - known:
            raise UserError(f"{path} has no rows of the classes {sorted(unknown)} that classes: asks for")
        return only(frame, set(self.classes)) if lists else frame[target.isin(self.classes)]


def columns(path: str, frame: pd.DataFrame, wanted: Iterable[str]) -> pd.DataFrame:
    """The `wanted` columns, each once.

    Raises:
        UserError: some are not there.
    """
    if lacking := [c for c in wanted if c not in frame]:
        raise UserError(
            f"{path} has no column {', '.join(map(repr, lacking))}; it has: {', '.join(map(repr, frame))}. "
            + (separated(frame) or "Name the columns in conf/data/ with input:, target: and row_id:")
        )
    if twice := [c for c in wanted if c in frame.attrs.get("twice", [])]:
        raise UserError(f"{path}: two columns are called {twice[0]!r}; expected one: rename the other")
    return frame[list(dict.fromkeys(wanted))]


def spelled(path: str, column: "pd.Series") -> "pd.Series[str]":
    """A column as text.

    Raises:
        UserError: bytes that are none.
    """
    try:
        return column.astype("string")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the column of {column.name!r} holds bytes, expected text or numbers") from error


def joined(texts: pd.DataFrame) -> "pd.Series[str]":
    """One text a row, of a paragraph for each column; empty cells leave none at its ends."""
    rows = texts.astype(object).mask(texts.isna(), "").itertuples(index=False)
    return pd.Series(["\n\n".join(map(str, row)).strip() for row in rows], texts.index, dtype="str")


def chosen(path: str, frame: pd.DataFrame, wanted: dict[str, Any]) -> pd.DataFrame:
    """The rows whose columns have the `wanted` values, compared as text.

    Raises:
        UserError: there is none.
    """
    for column, value in wanted.items():
        cells = spelled(path, frame[column])
        if not (cells == str(value)).any():
            known = ", ".join(map(repr, sorted(cells.dropna().unique())[:10]))
            raise UserError(f"{path} has no rows where {column} is {str(value)!r}; it is one of: {known}")
        frame = frame[(cells == str(value)).fillna(False)]
    return frame
