"""A data source: where labelled rows come from. A yaml in conf/data/ names it and its columns."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from decant.core.errors import UserError, require

SPLITS = ("train", "validation", "test", "unlabelled")


@dataclass(kw_only=True)
class Source(ABC):
    """Reads tables; `prepare` checks them, makes the missing splits and writes Parquet."""

    licence: str = "unknown"
    empty: str = "refuse"
    """What to do with rows with an empty input: `refuse`, `drop`, or `keep`."""
    leaks: str = "refuse"
    """What to do with an input that is in two splits: `refuse`, or `drop` the copy outside test."""
    size: int | None = None
    """Side of the stored squares in pixels, for images; None: inputs are texts."""

    def __post_init__(self) -> None:
        require(
            self,
            empty=(self.empty in ("refuse", "drop", "keep"), "one of: refuse, drop, keep"),
            leaks=(self.leaks in ("refuse", "drop"), "one of: refuse, drop"),
            size=(self.size is None or self.size > 0, "above 0"),
        )
        if self.size and self.pairs:
            raise UserError("input names two columns, but size is set; pairs are for texts: leave out one of the two")

    @property
    def pairs(self) -> bool:
        """Whether an input is a pair of texts."""
        return False

    @abstractmethod
    def load(self) -> dict[str, pd.DataFrame]:
        """{split: table}; the order of the rows is always the same.

        Columns: `row_id` (str), stable and unique within the source; `input` (str, or bytes of an image file); `pair`
        (str), the second text of a pair; `target` (str, a name or a number; or a list of names), absent or null in
        `unlabelled`.

        Raises:
            UserError: a file cannot be read, with what was expected.
        """


def with_row_ids(frame: pd.DataFrame, split: str, row_id: str | None = None) -> pd.DataFrame:
    """The columns of `Source.load` of `frame`; `row_id` names the column with the ids, None: split and index."""
    ids = frame[row_id].map(str) if row_id else [f"{split}-{i}" for i in frame.index]
    columns = [c for c in ("input", "pair", "target") if c in frame]
    return frame[columns].assign(row_id=list(ids)).reset_index(drop=True)


def column_names(input: str | list[str], target: str | None, row_id: str | None, join: bool = False) -> dict[str, str]:
    """What the columns of a source are renamed to: {"question": "input", "label": "target", "key": "row_id"}.

    With `join`, the columns of the input become "input 0", "input 1", ...

    Raises:
        UserError: not one or two columns for the input; one column in two roles.
    """
    inputs = [input] if isinstance(input, str) else list(input)
    if not inputs or len(set(inputs)) < len(inputs) or (len(inputs) > 2 and not join):
        raise UserError(f"input is {input}, expected one column, or a list of two for pairs of texts")
    input_names = [f"input {i}" for i in range(len(inputs))] if join else ["input", "pair"][: len(inputs)]
    pairs = [*zip(inputs, input_names, strict=True), (target, "target"), (row_id, "row_id")]
    renamed = [(column, name) for column, name in pairs if column is not None]
    if len(dict(renamed)) < len(renamed):
        raise UserError(
            f"input is {input!r}, target is {target!r} and row_id is {row_id!r}; expected different columns: name "
            "another"
        )
    return dict(renamed)


def count_files(names: Sequence[object]) -> str:
    """The number of files and the first three names, for a message: "4 files (a, b, c, ...)"."""
    first = ", ".join(map(str, names[:3]))
    return f"{len(names)} file{'s' if len(names) > 1 else ''} ({first}{', ...' if len(names) > 3 else ''})"
