"""Any CSV, TSV, JSON lines or Parquet file, by path or URL, with the columns that its yaml names."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

import fsspec  # type: ignore[import-untyped]
import numpy as np
import pandas as pd

from decant import UserError
from decant.data import SPLITS, Source, contract, numbered
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
        if self.row_id in self._names("train"):
            raise UserError(
                f"row_id is {self.row_id!r}, the input or the target; name a column of ids, or leave it out"
            )
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
        verify(path, content, self.sha256.get(split))
        names, wanted = self._names(split), self.where.get(split, {})
        frame = parse(path, content)
        if self.join:
            texts = self._columns(path, frame, self.input).fillna("").astype(str)
            frame = frame.assign(input=texts[list(self.input)].agg("\n\n".join, axis=1).str.strip())
        frame = self._columns(path, frame, [*names, *wanted])
        frame = chosen(path, frame, wanted).drop(columns=set(wanted) - {*names, self.row_id}).rename(columns=names)
        if split != "unlabelled":
            frame = self._labelled(split, path, frame)
        if isinstance(self.input, list):
            return numbered(frame, split, self.row_id)
        cells = inputs(frame["input"], self.size, path, lambda name: fetch(beside(path, name)))
        return numbered(frame.assign(input=cells), split, self.row_id)

    def _names(self, split: str) -> dict[str, str]:
        return contract("input" if self.join else self.input, self.target if split != "unlabelled" else None)

    def _columns(self, path: str, frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
        wanted = [*names, *([self.row_id] if self.row_id else [])]
        if lacking := [c for c in wanted if c not in frame]:
            raise UserError(
                f"{path} has no column {', '.join(map(repr, lacking))}; it has: {', '.join(map(repr, frame))}. "
                + (separated(frame) or "Name the columns in conf/data/ with input:, target: and row_id:")
            )
        return frame[list(dict.fromkeys(wanted))]

    def _labelled(self, split: str, path: str, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` with labels as text, or lists of text, and the chosen classes only."""
        if lists := frame["target"].map(lambda cell: isinstance(cell, list | np.ndarray)).any():
            target = listed(path, frame["target"], self.names)
        else:
            # a whole number beside an empty cell was read as 1.0
            target = frame["target"].convert_dtypes().astype("string")
            target = named(path, target, self.names) if self.names else target
        frame = frame.assign(target=target)
        if not self.classes:
            return frame
        # a small test split need not have every label of a list
        known = set(target.explode()) if split == "train" or not lists else set(self.classes)
        if unknown := set(self.classes) - known:
            raise UserError(f"{path} has no rows of the classes {sorted(unknown)} that classes: asks for")
        return only(frame, set(self.classes)) if lists else frame[target.isin(self.classes)]


def chosen(path: str, frame: pd.DataFrame, wanted: dict[str, Any]) -> pd.DataFrame:
    """The rows whose columns have the `wanted` values, compared as text.

    Raises:
        UserError: there is none.
    """
    for column, value in wanted.items():
        cells = frame[column].astype("string")
        if not (cells == str(value)).any():
            known = ", ".join(map(repr, sorted(cells.dropna().unique())[:10]))
            raise UserError(f"{path} has no rows where {column} is {str(value)!r}; it is one of: {known}")
        frame = frame[(cells == str(value)).fillna(False)]
    return frame


def beside(table: str, name: str) -> str:
    """The path or URL of the file that `table` calls `name`: relative to the table's folder."""
    if "://" in table:
        return f"{table.partition('?')[0].rpartition('/')[0]}/{name}"
    return str(Path(table).parent / name)


def verify(path: str, content: bytes, sha256: str | None) -> None:
    """Nothing, when `content` has the expected digest, or none is expected.

    Raises:
        UserError: with both digests.
    """
    digest = hashlib.sha256(content).hexdigest()
    if sha256 not in (None, digest):
        raise UserError(
            f"{path}: sha256 is {digest}, expected {sha256}; it is another file than the yaml "
            "was written for: get the right one, or put the new digest into the yaml"
        )


def fetch(path: str) -> bytes:
    """The bytes at a path or URL.

    Raises:
        UserError: where there is nothing, or no network.
    """
    try:
        with fsspec.open(path) as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        if "://" in path:  # fsspec says this of a server that does not answer, too
            raise UserError(f"{path} cannot be fetched; check the address and the network") from error
        raise UserError(
            f"no file {path}; put it there, name another in conf/data/, or set the variable that stands there "
            "(DECANT_DATA=<folder>)"
        ) from error
    except (OSError, URLError, ValueError, ImportError) as error:
        raise UserError(f"{path} cannot be read: {error}; check the path or the network") from error
    except Exception as error:
        # aiohttp's errors derive from Exception alone, and are there only with fsspec[http]
        raise UserError(f"{path} cannot be fetched: {error}; check the network") from error
