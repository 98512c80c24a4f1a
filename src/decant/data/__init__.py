"""A data source: where labelled rows come from. One yaml in conf/data/ names it and its columns."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import pandas as pd

from decant import UserError

SPLITS = ("train", "validation", "test", "unlabelled")


@dataclass(kw_only=True)
class Source(ABC):
    """Reads tables; `prepare` checks them, makes missing splits and writes Parquet."""

    licence: str = "unknown"
    empty: str = "refuse"
    """Rows with an empty input: `refuse`, `drop`, or `keep`."""
    leaks: str = "refuse"
    """The same input in two splits: `refuse`, or `drop` the copy outside test."""

    def __post_init__(self) -> None:
        allowed = {"empty": ("refuse", "drop", "keep"), "leaks": ("refuse", "drop")}
        bad = [
            f"{k} is {getattr(self, k)!r}, expected one of: {', '.join(v)}"
            for k, v in allowed.items()
            if getattr(self, k) not in v
        ]
        if bad:
            raise UserError(bad)

    @abstractmethod
    def load(self) -> dict[str, pd.DataFrame]:
        """One table for each split there is, with the columns below, in an order that never changes.

        `row_id` (str): stable and unique within the source; `input` (str); `target` (str: the name of the
        class), absent or null in `unlabelled`.

        Raises:
            UserError: what cannot be read, with what was expected.
        """


def numbered(frame: pd.DataFrame, split: str, row_id: str | None = None) -> pd.DataFrame:
    """`frame` with the contract's `row_id`: its own column of that name, or split and position."""
    ids = frame[row_id].astype(str) if row_id else [f"{split}-{i}" for i in range(len(frame))]
    columns = [c for c in ("input", "target") if c in frame]
    return frame[columns].assign(row_id=list(ids)).reset_index(drop=True)
