"""Writes rows with predictions as JSON lines or CSV."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

from decant.core.errors import UserError

OutputFormat = Literal["csv", "jsonl"]
OUTPUT_FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)
TABLE_SUFFIXES = (".parquet", ".tsv")
"""Suffixes of tables that `readers.py` reads and this module does not write."""
TEXT_OPTIONS: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
"""Of the output: "backslashreplace" writes half of a surrogate pair, which JSON can carry, as JSON writes it."""
WriteRow = Callable[[dict[str, Any]], object]


def output_format(path: Path | None) -> OutputFormat:
    """The format of an output file by its suffix; JSON lines without a known one.

    Raises:
        UserError: a suffix whose format is not written; `decant predict` could not read such a file back.
    """
    suffix = path.suffix.lower() if path else ""
    if suffix in TABLE_SUFFIXES:
        choices = " or ".join(f".{name}" for name in OUTPUT_FORMATS)
        raise UserError(f"{path} cannot be written as {suffix}; choose {choices}, or --format")
    return "csv" if suffix == ".csv" else "jsonl"


def row_writer(file: TextIO, output_format: OutputFormat) -> WriteRow:
    """A function that writes one row to a file."""
    return csv_writer(file) if output_format == "csv" else json_lines_writer(file)


def json_lines_writer(file: TextIO) -> WriteRow:
    """One JSON object per line."""
    return lambda values: file.write(to_json(values) + "\n")


def to_json(value: object) -> str:
    """JSON on one line; null for numbers that JSON lacks (NaN, infinity), text for what it has no type for."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, default=str)


def finite(value: object) -> Any:
    """A copy with None in place of each number that is not finite."""
    if isinstance(value, dict):
        return {name: finite(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_writer(file: TextIO) -> WriteRow:
    """CSV with the columns of the first row; lists and probabilities as JSON."""
    writer: csv.DictWriter[str] = csv.DictWriter(file, [], lineterminator="\n")

    def write(values: dict[str, object]) -> None:
        if not writer.fieldnames:
            writer.fieldnames = list(values)
            writer.writeheader()
        cells = {k: to_json(v) if isinstance(v, list | dict) else v for k, v in values.items()}
        try:
            writer.writerow(cells)
        except ValueError as error:
            raise UserError(f"a row has columns that the first one lacks ({error}); use --format jsonl") from error

    return write


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Open the output, by default the standard output; a file appears under its name once it is complete.

    Raises:
        UserError: the path is a folder, or in a folder that does not exist; it cannot be written.
    """
    try:
        with standard_output() if path is None else named_output(path) as file:
            yield file
    except OSError as error:  # reading, in between, has worded its own errors
        raise UserError(f"{path or 'the standard output'} cannot be written: {error.strerror}") from error


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """The standard output, as UTF-8."""
    if sys.stdout is None:
        raise UserError("the standard output is closed; give the name of a file: --output NAME")
    with open(sys.stdout.fileno(), "w", closefd=False, **TEXT_OPTIONS) as file:
        yield file


@contextmanager
def named_output(path: Path) -> Iterator[TextIO]:
    """A new file beside the path, which takes its name at the end; a pipe or device is written to at once."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; give --output the name of a file")
    if not path.absolute().parent.is_dir():
        raise UserError(f"there is no folder {path.parent} for the output; make it first")
    if path.exists() and not path.is_file():
        with path.open("w", **TEXT_OPTIONS) as file:
            yield file
        return
    partial_file = path.with_name(f"{path.name}.part")
    try:
        with partial_file.open("w", **TEXT_OPTIONS) as file:
            yield file
        partial_file.replace(path)
    finally:
        partial_file.unlink(missing_ok=True)
