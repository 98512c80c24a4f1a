"""Sets of label names, and their encoding as zeros and ones."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from decant.task import Column, Facts, Tables, Target

SEPARATOR = ";"
"""Between the label names of a row, where a table holds text; a separator alone means that the row has no label."""
MAX_FOLDS = 10
"""In cross-validation, strata of at least this many rows are kept apart."""


class MultiLabelTarget(Target):
    """A target is a set of label names, encoded as (C,) zeros and ones; all -1: none."""

    def __init__(self, min_rows: int, drop_rare: bool) -> None:
        self.min_rows, self.drop_rare = min_rows, drop_rare

    def read(self, column: Column) -> Column:
        """Sorted tuples of names, from lists or from text split at `SEPARATOR`; a blank text is null."""
        return pd.Series([label_names(cell) for cell in column], column.index, dtype=object)

    def problems(self, tables: Tables) -> list[str]:
        """Fewer than two labels, labels on every row, or labels that are missing from train."""
        train = tables["train"]["target"]
        if len(labels := self.labels(train)) < 2:
            least = f" with {self.min_rows} rows or more" if self.drop_rare else ""
            return [f"train has {len(labels)} labels{least}, expected two or more; of a single one, use task classify"]
        counts = count_labels(train)
        problems = [f"every row of train has the label {label!r}; there is nothing to learn of it: remove it"
                    for label in labels if counts[label] == len(train)]  # fmt: skip
        for split in ("validation", "test") if not self.drop_rare else ():
            if split in tables and (new := set(count_labels(tables[split]["target"])) - set(labels)):
                problems.append(
                    f"{split} has labels that train lacks: {', '.join(map(repr, sorted(new)))}; no model can learn "
                    "them: add rows to train, remove them, or set rare: drop in conf/task/"
                )
        return problems

    def check_class_counts(self, train: pd.DataFrame) -> list[str]:
        """Labels with fewer than `min_rows` rows, unless they are dropped."""
        rare = sorted(label for label, rows in count_labels(train["target"]).items() if rows < self.min_rows)
        if self.drop_rare or not rare:
            return []
        return [
            f"train has fewer than {self.min_rows} rows of {len(rare)} labels ({', '.join(map(repr, rare[:10]))}"
            f"{', ...' if len(rare) > 10 else ''}); add rows, remove them, or set rare: drop in conf/task/"
        ]

    def strata(self, targets: Column) -> "Column | None":
        """The rarest label of each row ("": none), so that a split does not take all rows of one label.

        Strata that are too small join the largest. For parsed targets those are single rows, which cannot be on both
        sides of a split; for encoded targets, strata with fewer rows than the largest number of folds.
        """
        encoded = isinstance(targets.iloc[0], np.ndarray)
        rows = targets.map(lambda row: tuple(map(str, np.flatnonzero(row == 1)))) if encoded else targets
        counts = count_labels(rows)
        rarest = rows.map(lambda row: min(row, key=lambda label: (counts[label], label), default=""))
        sizes = rarest.value_counts()
        return rarest.where(rarest.map(sizes) >= (MAX_FOLDS if encoded else 2), sizes.index[0])

    def labels(self, targets: Column) -> list[str]:
        """Label names, sorted, without the rare ones that are dropped."""
        counts = count_labels(targets)
        return sorted(label for label, rows in counts.items() if not self.drop_rare or rows >= self.min_rows)

    def encode(self, targets: Column, labels: list[str]) -> list[Any]:
        """(C,) int8: 1 for each label of the row that is in `labels`; all -1: unknown."""
        names = np.array(labels, dtype=object)
        unknown = np.full(len(labels), -1, np.int8)
        return [np.isin(names, row).astype(np.int8) if isinstance(row, tuple) else unknown for row in targets]

    def describe(self, targets: Column, encoded: Column, labels: list[str]) -> Facts:
        """Rows of each label, rows without any, and rows of each dropped label."""
        hot = np.stack(encoded.to_list())
        counts = count_labels(row for row in targets if isinstance(row, tuple))
        return {
            "classes": dict(zip(labels, (hot == 1).sum(0).tolist(), strict=True)),
            "without_labels": int((hot == 0).all(1).sum()),
            "dropped_labels": {label: rows for label, rows in counts.items() if label not in set(labels)},
        }


def label_names(cell: Any) -> tuple[str, ...] | None:
    """The sorted label names in the cell of a table; None where it is missing or blank."""
    if isinstance(cell, list | tuple | set | np.ndarray):
        return tuple(sorted({str(name).strip() for name in cell if name is not None} - {""}))
    if cell is None or pd.isna(cell) or not str(cell).strip():
        return None
    return tuple(sorted({name.strip() for name in str(cell).split(SEPARATOR)} - {""}))


def count_labels(targets: Iterable[Any]) -> "Counter[str]":
    """Rows of each label."""
    return Counter(label for row in targets for label in row)
