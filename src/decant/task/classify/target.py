"""Class names, and their indices."""

from typing import Any

import pandas as pd

from decant.core.errors import UserError
from decant.task import Column, Facts, Tables, Target


class ClassifyTarget(Target):
    """A target is the name of a class, encoded as its index; -1: none."""

    def read(self, column: Column) -> Column:
        """Class names; a blank cell is null.

        Raises:
            UserError: cells that are lists.
        """
        if lists := [cell for cell in column if isinstance(cell, list)]:
            raise UserError(
                f"{len(lists)} targets are lists of labels (first: {lists[0]}), expected one label each; choose "
                "use.task multilabel, or another column"
            )
        null = column.isna() | (column.astype(str).str.strip() == "")
        return column.where(~null).astype("string")

    def problems(self, tables: Tables) -> list[str]:
        """A single class, or classes that are missing from train."""
        classes = set(tables["train"]["target"])
        if len(classes) < 2:
            return [f"train has the single class {min(classes)!r}; expected at least two"]
        return [
            f"{split} has classes that train lacks: {', '.join(map(repr, sorted(new)))}; no model can learn them: "
            "add rows to train or remove them"
            for split in ("validation", "test")
            if split in tables and (new := set(tables[split]["target"]) - classes)
        ]

    def check_class_counts(self, train: pd.DataFrame) -> list[str]:
        """Classes with a single row."""
        counts = train["target"].value_counts()
        if not (rare := sorted(counts[counts < 2].index)):
            return []
        names = ", ".join(map(repr, rare[:10])) + (", ..." if len(rare) > 10 else "")
        return [
            f"train has one row of {names}; expected two or more of each class, one to learn from and one to validate "
            "on: add rows or remove the class"
        ]

    def strata(self, targets: Column) -> "Column | None":
        """The classes."""
        return targets

    def labels(self, targets: Column) -> list[str]:
        """Class names, sorted."""
        return sorted(targets.unique())

    def encode(self, targets: Column, labels: list[str]) -> list[Any]:
        """Indices into `labels`; -1: no label."""
        index = {label: i for i, label in enumerate(labels)}
        return [index.get(target, -1) for target in targets]

    def describe(self, targets: Column, encoded: Column, labels: list[str]) -> Facts:
        """Rows of each class."""
        return {"classes": {label: int((encoded == i).sum()) for i, label in enumerate(labels)}}
