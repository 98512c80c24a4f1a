"""Streams the rows of files in constant memory: lines of text, CSV, TSV, JSON lines, Parquet, image files.

Imports nothing of the training code: `decant predict` should start at once.
"""

import codecs
import csv
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from decant.core.errors import UserError
from decant.serving.limits import MAX_ROW_BYTES, BadJson, check_columns, open_regular, parse_json
from decant.serving.parquet import read_parquet
from decant.serving.rows import Row

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
"""The files in a folder that are read as images."""
TEXT_COLUMN, FILE_COLUMN = "text", "file"
"""The column of a line of plain text, and of an image file."""


def read_rows(name: str, images: bool) -> Iterator[Row]:
    """The rows of a file or folder; `-` is the standard input.

    Args:
        name: as given on the command line. Its suffix decides the format; without a known suffix a file holds lines of
            text, and the standard input holds JSON lines if it starts with a brace.
        images: whether inputs are images: then files are images, except tables, and lines of text are paths.

    Raises:
        UserError: a part that cannot be read, by file and line, when it is reached.
    """
    path = Path(name)
    if name == "-":
        yield from stdin_rows(images)
    elif path.suffix.lower() in IMAGE_SUFFIXES and not images:
        raise UserError(f"{name} is an image by its name, but the model takes texts; give it texts, or another --model")
    elif path.is_dir() and images:
        yield from image_rows(path)
    elif read := READERS.get(path.suffix.lower()):
        yield from read(name)
    elif images and path.suffix.lower() != ".txt":
        yield Row({FILE_COLUMN: name}, name, 0, path.stat().st_size)
    else:
        with open_regular(name) as file:
            yield from text_rows(Lines(file, name), images)


def image_rows(folder: Path) -> Iterator[Row]:
    """The image files of a folder and its sub-folders, sorted by path."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        expected = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{folder} holds no images, expected files that end in {expected}")
    for file in files:
        yield Row({FILE_COLUMN: str(file)}, str(file), 0, file.stat().st_size)


class Lines:
    """The lines of a UTF-8 file, with or without a byte order mark; counts lines and bytes."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.number = self.size = 0

    def __iter__(self) -> Iterator[str]:
        while content := self._read():
            self.number += 1
            self.size += len(content)
            if self.size > MAX_ROW_BYTES:
                raise UserError(
                    f"{self.location()}: more than {MAX_ROW_BYTES:,} bytes in a row; are line ends missing?"
                )
            try:
                yield content.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(f"{self.location()}: not UTF-8; convert it: iconv -f WINDOWS-1252 -t UTF-8") from error

    def _read(self) -> bytes:
        try:
            return self.file.readline(MAX_ROW_BYTES + 1)
        except OSError as error:
            raise UserError(f"{self.name} cannot be read: {error.strerror}") from error

    def location(self) -> str:
        """File and number of the last line, at the start of a message."""
        return f"{self.name}, line {self.number}"

    def skip(self) -> None:
        """Pass over the lines since the last row."""
        self.size = 0

    def row(self, values: dict[str, object]) -> Row:
        """The row that ends with the last line."""
        size, self.size = self.size, 0
        return Row(values, self.name, self.number, size)


def text_rows(lines: Lines, images: bool = False) -> Iterator[Row]:
    """Each line is an input, also an empty line."""
    for line in lines:
        yield lines.row({FILE_COLUMN if images else TEXT_COLUMN: line.rstrip("\r\n")})


def stdin_rows(images: bool) -> Iterator[Row]:
    """The standard input: JSON lines if it starts with a brace, else lines of text."""
    if sys.stdin is None:
        raise UserError("the standard input is closed; give the path of a file")
    with open(sys.stdin.fileno(), "rb", closefd=False) as file:
        lines = Lines(file, "standard input")
        starts_with_brace = file.peek(1).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"
        yield from json_rows(lines) if starts_with_brace else text_rows(lines, images)


def json_rows(lines: Lines) -> Iterator[Row]:
    """JSON lines of objects or texts."""
    for line in lines:
        if not line.strip():
            lines.skip()
            continue
        try:
            values = parse_json(line)
        except BadJson as error:
            raise UserError(f"{lines.location()}: {error}") from error
        if not isinstance(values, dict | str):
            raise UserError(f"{lines.location()}: {type(values).__name__}, expected an object or a text")
        values = values if isinstance(values, dict) else {TEXT_COLUMN: values}
        check_columns(lines.location(), list(values))
        yield lines.row(values)


def read_json_lines(name: str) -> Iterator[Row]:
    """A file of JSON lines."""
    with open_regular(name) as file:
        yield from json_rows(Lines(file, name))


def read_csv(name: str, delimiter: str) -> Iterator[Row]:
    """A CSV or TSV file with a header."""
    with open_regular(name) as file:
        yield from csv_rows(Lines(file, name), delimiter)


def csv_rows(lines: Lines, delimiter: str) -> Iterator[Row]:
    """Lines of CSV or TSV with a header; a row is a record, which may take several lines."""
    csv.field_size_limit(MAX_ROW_BYTES)  # a text may be longer than the module's limit of 128 kB
    table = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(table, [])
        check_delimiter(lines.name, header, delimiter)
        check_columns(lines.location(), header)
        for fields in table:
            if not fields:
                lines.skip()
                continue
            if len(fields) != len(header):
                expected = f"expected {len(header)} as in the header"
                raise UserError(f"{lines.location()}: {len(fields)} fields, {expected}")
            yield lines.row(dict(zip(header, fields, strict=True)))
    except csv.Error as error:
        raise UserError(f"{lines.location()}: {error}") from error


def check_delimiter(name: str, header: list[str], delimiter: str) -> None:
    """Refuse a file that uses another delimiter.

    Raises:
        UserError: the header is a single column whose name contains another delimiter.
    """
    if len(header) == 1 and (used := next((d for d in ";\t|" if d in header[0]), "")):
        raise UserError(f"{name} looks separated by {used!r}, expected {delimiter!r}; save it so")


READERS: dict[str, Callable[[str], Iterator[Row]]] = {
    ".csv": partial(read_csv, delimiter=","),
    ".tsv": partial(read_csv, delimiter="\t"),
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
}
"""By the suffix of a file name."""
