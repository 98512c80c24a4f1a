"""The columns of a table that are used."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from decant.core.errors import UserError
from decant.data.columns import plain_cells, select_columns
from decant.data.limits import MAX_CELL
from decant.data.table import Table

LARGE = {"characters": "x" * (MAX_CELL + 1), "values": ["x"] * 10_001}


@pytest.mark.parametrize("kind", LARGE)
def test_a_cell_that_is_too_large_is_refused_by_row_and_column(kind: str) -> None:
    frame = pd.DataFrame({"text": pd.Series(["a", "b", LARGE[kind]], dtype=object), "other": ["x" * (2 << 20)] * 3})
    with pytest.raises(UserError, match=rf"a\.csv, row 3, column 'text': a cell of [0-9,]+ {kind}, expected at most"):
        select_columns("a.csv", frame, ["text"])


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_cell_above_the_limit_is_refused_whatever_the_format(ending: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "x" * 2_000_000], "intent": ["a", "b"]})
    file = tmp_path / f"a.{ending}"
    {"csv": lambda: frame.to_csv(file), "jsonl": lambda: frame.to_json(file, orient="records", lines=True),
     "parquet": lambda: frame.to_parquet(file)}[ending]()  # fmt: skip
    with pytest.raises(UserError, match="row 2, column 'text': a cell of 2,000,000 characters, expected at most"):
        Table(train=str(file), input="text", target="intent").load()


def test_only_cells_of_odd_types_become_text() -> None:
    day = pd.Timestamp("2026-01-02")
    cells = ["a", b"b", 1, 2.5, None, ["x"], {"y": 1}, np.array([1]), day, day.date(), pd.NaT]
    plain = plain_cells("a", pd.Series(cells, dtype=object)).tolist()
    assert plain[:8] == cells[:8]
    assert plain[8:10] == ["2026-01-02 00:00:00", "2026-01-02"]
    assert pd.isna(plain[10])
    numbers = pd.Series([1, 2])
    assert plain_cells("a", numbers) is numbers


def test_a_cell_that_cannot_be_written_as_text_is_refused() -> None:
    class Odd:
        def __str__(self) -> str:
            raise OverflowError("year 0 is out of range")

    with pytest.raises(UserError, match="the column of 'when' has no text form: year 0 is out of range; expected text"):
        plain_cells("a", pd.Series([Odd()], dtype=object, name="when"))
