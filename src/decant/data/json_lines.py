"""JSON lines: a mapping on each line, with each of its keys once."""

import io
import json
from typing import Any

import pandas as pd

from decant.data.limits import MAX_COLUMNS


def read_json_lines(file: io.BytesIO) -> pd.DataFrame:
    """A file with a JSON object on each line; a byte order mark and blank lines are ignored.

    Not by pandas: it takes columns by their names for dates, and of a key that is there twice the last.

    Raises:
        ValueError: by the number of the line.
    """
    rows = [_row(number, line) for number, line in enumerate(file, 1) if line.strip()]
    if (keys := len(set().union(*rows))) > MAX_COLUMNS:
        raise ValueError(f"it has {keys:,} keys, expected at most {MAX_COLUMNS:,}")
    return pd.DataFrame(rows)


def _row(number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.strip().decode("utf-8-sig"), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError(f"line {number}: its values are too deep inside each other") from error
    except ValueError as error:  # a number of thousands of digits; a key twice
        raise ValueError(f"line {number}: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"line {number} holds {type(row).__name__}, something else than an object")
    return row


def _unique(pairs: list[tuple[str, object]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return values
