"""A data source: where labelled rows come from. One yaml in conf/data/ names it and its columns."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from decant import UserError, require

SPLITS = ("train", "validation", "test", "unlabelled")


@dataclass(kw_only=True)
class Source(ABC):
    """Reads tables; `prepare` checks them, makes missing splits and writes Parquet."""

    licence: str = "unknown"
    empty: str = "refuse"
    """Rows with an empty input: `refuse`, `drop`, or `keep`."""
    leaks: str = "refuse"
    """The same input in two splits: `refuse`, or `drop` the copy outside test."""
    size: int | None = None
    """Side in pixels of the stored squares, for images; none: inputs are text."""

    def __post_init__(self) -> None:
        require(
            self,
            empty=(self.empty in ("refuse", "drop", "keep"), "one of: refuse, drop, keep"),
            leaks=(self.leaks in ("refuse", "drop"), "one of: refuse, drop"),
            size=(self.size is None or self.size > 0, "above 0"),
        )
        if self.size and self.pairs:
            raise UserError("input names two columns, but size is set; pairs are for texts: leave out one of both")

    @property
    def pairs(self) -> bool:
        """Whether an input is two texts."""
        return False

    @abstractmethod
    def load(self) -> dict[str, pd.DataFrame]:
        """One table for each split there is, with the columns below, in an order that never changes.

        `row_id` (str): stable and unique within the source; `input` (str); `pair` (str), where an input is two
        texts; `target` (str: a name or a number; or a list of names), absent or null in `unlabelled`.

        Raises:
            UserError: what cannot be read, with what was expected.
        """


def numbered(frame: pd.DataFrame, split: str, row_id: str | None = None) -> pd.DataFrame:
    """`frame` with the contract's `row_id`: its own column of that name, or split and index."""
    ids = frame[row_id].astype(str) if row_id else [f"{split}-{i}" for i in frame.index]
    columns = [c for c in ("input", "pair", "target") if c in frame]
    return frame[columns].assign(row_id=list(ids)).reset_index(drop=True)


def contract(input: str | list[str], target: str | None) -> dict[str, str]:
    """The contract's names of a source's columns: {"question": "input", "label": "target"}.

    Raises:
        UserError: other than one or two columns of input, or the same for the target.
    """
    inputs = [input] if isinstance(input, str) else list(input)
    if len(inputs) not in (1, 2) or len(set(inputs)) < len(inputs):
        raise UserError(f"input is {input}, expected one column, or a list of two for pairs of texts")
    if target in inputs:
        raise UserError(f"target is {target!r}, which input names, too; name the column with the label")
    return dict(zip(inputs, ("input", "pair"), strict=False)) | ({target: "target"} if target else {})


def some(names: Sequence[object]) -> str:
    """How many files, and the first three by name, for a message."""
    first = ", ".join(map(str, names[:3]))
    return f"{len(names)} file{'s' if len(names) > 1 else ''} ({first}{', ...' if len(names) > 3 else ''})"
