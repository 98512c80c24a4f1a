"""A data source: where labelled rows come from. One yaml in conf/data/ names it and its columns."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from decant.core.errors import UserError, require

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
    ids = frame[row_id].map(str) if row_id else [f"{split}-{i}" for i in frame.index]
    columns = [c for c in ("input", "pair", "target") if c in frame]
    return frame[columns].assign(row_id=list(ids)).reset_index(drop=True)


def contract(input: str | list[str], target: str | None, row_id: str | None, join: bool = False) -> dict[str, str]:
    """The contract's names of a source's columns: {"question": "input", "label": "target", "key": "row_id"}.

    Columns that are to be joined are the inputs 0, 1, ...

    Raises:
        UserError: other than one or two columns of input; one column in two roles.
    """
    inputs = [input] if isinstance(input, str) else list(input)
    if not inputs or len(set(inputs)) < len(inputs) or (len(inputs) > 2 and not join):
        raise UserError(f"input is {input}, expected one column, or a list of two for pairs of texts")
    names = [f"input {i}" for i in range(len(inputs))] if join else ["input", "pair"][: len(inputs)]
    roles = [*zip(inputs, names, strict=True), (target, "target"), (row_id, "row_id")]
    given = [(column, name) for column, name in roles if column is not None]
    if len(dict(given)) < len(given):
        named = f"input is {input!r}, target is {target!r} and row_id is {row_id!r}"
        raise UserError(f"{named}; expected different columns: name another")
    return dict(given)


def some(names: Sequence[object]) -> str:
    """How many files, and the first three by name, for a message."""
    first = ", ".join(map(str, names[:3]))
    return f"{len(names)} file{'s' if len(names) > 1 else ''} ({first}{', ...' if len(names) > 3 else ''})"
