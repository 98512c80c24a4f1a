"""Numbers, and their range."""

from typing import Any

import numpy as np
import pandas as pd

from decant.core.errors import UserError
from decant.task import Column, Facts, Tables, Target


class RegressTarget(Target):
    """A target is a number, in [low, high] if there are bounds; encoded as float32, NaN for none."""

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low, self.high = low, high

    def read(self, column: Column) -> Column:
        """Finite numbers; a blank cell is null.

        Raises:
            UserError: targets that are no numbers, or out of range.
        """
        text = column.astype("string").str.strip()
        text = text.mask(text == "")
        numbers = pd.to_numeric(text, errors="coerce").astype("Float64").astype(float)
        with np.errstate(over="ignore"):
            bad = text.notna() & ~np.isfinite(numbers.astype(np.float32))
        if bad.any():
            first = text[bad].iloc[0]
            raise UserError(f"{bad.sum()} targets are no numbers (first: {first!r}), or exceed 32 bits; correct them")
        self.check_range(numbers)
        return numbers

    def check_range(self, numbers: "pd.Series[float]") -> None:
        """Refuse numbers outside the bounds.

        Raises:
            UserError: with the first of them.
        """
        if self.low is None or self.high is None:
            return
        outside = (numbers < self.low) | (numbers > self.high)
        if outside.any():
            raise UserError(
                f"{outside.sum()} targets are outside [{self.low:g}, {self.high:g}] (first: "
                f"{numbers[outside].iloc[0]:g}); correct them, or low: and high: in conf/task/regress.yaml"
            )

    def problems(self, tables: Tables) -> list[str]:
        """Splits whose targets are all equal: nothing correlates with them."""
        return [
            f"{split} has the single target {tables[split]['target'].iloc[0]:g}; expected at least two different ones"
            for split in ("train", "validation", "test")
            if split in tables and tables[split]["target"].astype(np.float32).nunique() < 2
        ]

    def labels(self, targets: Column) -> list[str]:
        """The name of the single output."""
        return ["score"]

    def encode(self, targets: Column, labels: list[str]) -> list[Any]:
        """float32; NaN: unknown."""
        return [np.float32(np.nan if target is None else target) for target in targets]

    def describe(self, targets: Column, encoded: Column, labels: list[str]) -> Facts:
        """Minimum, mean, maximum and standard deviation."""
        known = encoded.astype(float).dropna()
        statistics = {"min": known.min(), "mean": known.mean(), "max": known.max(), "std": known.std(ddof=0)}
        return {"targets": {name: round(float(v), 4) for name, v in statistics.items()}} if len(known) else {}
