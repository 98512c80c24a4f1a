"""Any CSV, TSV, JSON lines or Parquet file, by path or URL, with the columns that its yaml names."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from decant.core.errors import UserError
from decant.data import SPLITS, Source, column_names, with_row_ids
from decant.data.columns import as_text, filter_rows, join_columns, select_columns
from decant.data.files import fetch, is_remote, resolve, verify
from decant.data.formats import parse
from decant.data.images import input_column
from decant.data.labels import keep_labels, label_lists, name_labels


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
    """Column with the label, the number, or the list of labels; None, if there are only `unlabelled` rows."""
    join: bool = False
    """Whether several columns of input form one text, a paragraph each (a title and a body), instead of a pair."""
    where: dict[str, dict[str, Any]] = field(default_factory=dict)
    """{split: {column: value}} that selects the rows of the split: one file can hold several splits."""
    row_id: str | None = None
    """Column with a unique id; default: the position in the file."""
    classes: list[str] | None = None
    """Keep only the labelled rows of these classes; of lists of labels, keep all rows and only these labels."""
    names: list[str] | None = None
    """Names of the classes, if the labels are 0, 1, ...: the first is the name of 0."""
    sha256: dict[str, str] = field(default_factory=dict)
    """{split: expected digest}, for files that DVC does not see (outside data/raw)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        splits = [s for s in SPLITS if getattr(self, s)]
        if not splits:
            raise UserError(f"names no file; expected at least one of: {', '.join(SPLITS)}")
        if self.target is None and splits != ["unlabelled"]:
            raise UserError(f"names no target:, the column with the label, which {splits[0]}: needs; give it")
        if self.join and isinstance(self.input, str):
            raise UserError("join is true, but input names one column; expected a list of columns, or join: false")
        self._column_names("train")
        if unknown := [s for s in self.where if s not in splits]:
            raise UserError(f"where names {', '.join(unknown)}, expected splits with a file: train, test, ...")

    @property
    def pairs(self) -> bool:
        """See `Source.pairs`."""
        return not isinstance(self.input, str) and not self.join

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`; the problems of all files are raised together."""
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
        names, conditions = self._column_names(split), self.where.get(split, {})
        frame = filter_rows(path, select_columns(path, parse(path, content), [*names, *conditions]), conditions)
        frame = frame[list(names)].rename(columns=names)
        if self.join:
            frame = frame.assign(input=join_columns(frame[[f"input {i}" for i in range(len(self.input))]]))
        if split != "unlabelled":
            frame = self._with_labels(split, path, frame)
        if not isinstance(self.input, list):
            read = None if is_remote(path) else lambda name: fetch(resolve(path, name))
            frame = frame.assign(input=input_column(frame["input"], self.size, path, read))
        return with_row_ids(frame, split, "row_id" if self.row_id else None)

    def _column_names(self, split: str) -> dict[str, str]:
        return column_names(self.input, self.target if split != "unlabelled" else None, self.row_id, self.join)

    def _with_labels(self, split: str, path: str, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` with labels as text, or lists of text, of the chosen classes."""
        if lists := frame["target"].map(lambda cell: isinstance(cell, list | np.ndarray)).any():
            target = label_lists(path, frame["target"], self.names)
        else:
            # pandas reads whole numbers as 1.0 if the column has empty cells
            target = as_text(path, frame["target"].convert_dtypes())
            target = name_labels(path, target, self.names) if self.names else target
        frame = frame.assign(target=target)
        if not self.classes:
            return frame
        # with lists of labels, a small test split need not have every label
        present = set(target.explode()) if split == "train" or not lists else set(self.classes)
        if unknown := set(self.classes) - present:
            raise UserError(f"{path} has no rows of the classes {sorted(unknown)} that classes: asks for")
        return keep_labels(frame, set(self.classes)) if lists else frame[target.isin(self.classes)]
