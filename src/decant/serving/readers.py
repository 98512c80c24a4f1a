"""Rows of files, one after the other, in constant memory: lines, CSV, TSV, JSON lines, Parquet, image files.

Nothing of the training code is imported: `decant predict` starts with this.
"""

import codecs
import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from decant.core.errors import UserError

PICTURES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
"""Files of a folder that count as images."""
TEXT, FILE = "text", "file"
"""The columns of a line of plain text, and of an image file."""


class Row(NamedTuple):
    """One row of a file."""

    values: dict[str, Any]
    place: str
    """Where it stands, for a message: the file; `line`: the line in it, from 1; 0: the whole of it."""
    line: int
    size: int
    """Bytes of the file that it took."""

    def where(self) -> str:
        """File and line, at the start of a message."""
        return f"{self.place}, line {self.line}" if self.line else self.place


def rows(name: str, images: bool) -> Iterator[Row]:
    """The rows of a file or folder; `-` is the standard input.

    Args:
        name: as the command line has it; what it holds is told by its ending, and is lines of text where that says
            nothing, or JSON lines on the standard input where the first begins with a brace.
        images: whether files are images, but for tables, and lines are their paths.

    Raises:
        UserError: what cannot be read, by file and line, when its turn comes.
    """
    path = Path(name)
    if name == "-":
        yield from piped(images)
    elif path.suffix.lower() in PICTURES and not images:
        raise UserError(f"{name} is an image by its name, but the model takes texts; give it texts, or another --model")
    elif path.is_dir() and images:
        yield from pictures(path)
    elif read := READERS.get(path.suffix.lower()):
        yield from read(name)
    elif images and path.suffix.lower() != ".txt":
        with reading(name):
            yield Row({FILE: name}, name, 0, path.stat().st_size)
    else:
        with reading(name) as file:
            yield from plain(Lines(file, name), images)


def pictures(folder: Path) -> Iterator[Row]:
    """The image files of a folder and of those in it, by name."""
    found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in PICTURES)
    if not found:
        raise UserError(f"{folder} holds no images, expected files that end in {', '.join(sorted(PICTURES))}")
    for file in found:
        yield Row({FILE: str(file)}, str(file), 0, file.stat().st_size)


class Lines:
    """The lines of a file in UTF-8, with or without a byte order mark; counts them and their bytes."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.number = self.size = 0

    def __iter__(self) -> Iterator[str]:
        for content in self.file:
            self.number += 1
            self.size += len(content)
            try:
                yield content.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(f"{self.where()}: not UTF-8; convert it: iconv -f WINDOWS-1252 -t UTF-8") from error

    def where(self) -> str:
        """The last line, at the start of a message."""
        return f"{self.name}, line {self.number}"

    def row(self, values: dict[str, Any]) -> Row:
        """The row that ends with the last line."""
        size, self.size = self.size, 0
        return Row(values, self.name, self.number, size)


@contextmanager
def reading(name: str) -> Iterator[BinaryIO]:
    """A file, opened."""
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - an error of the reader's is another error
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}") from error
    with file:
        yield file


def plain(lines: Lines, images: bool = False) -> Iterator[Row]:
    """Each line is an input, an empty one too."""
    for line in lines:
        yield lines.row({FILE if images else TEXT: line.rstrip("\r\n")})


def piped(images: bool) -> Iterator[Row]:
    """The standard input."""
    with open(sys.stdin.fileno(), "rb", closefd=False) as file:
        lines = Lines(file, "standard input")
        objects = file.peek(1).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"
        yield from tagged(lines) if objects else plain(lines, images)


def tagged(lines: Lines) -> Iterator[Row]:
    """JSON lines: objects, or texts."""
    for line in lines:
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise UserError(f"{lines.where()}: not JSON ({error})") from error
        if not isinstance(values, dict | str):
            raise UserError(f"{lines.where()}: {type(values).__name__}, expected an object or a text")
        yield lines.row(values if isinstance(values, dict) else {TEXT: values})


def json_lines(name: str) -> Iterator[Row]:
    """A file of JSON lines."""
    with reading(name) as file:
        yield from tagged(Lines(file, name))


def delimited(name: str, separator: str) -> Iterator[Row]:
    """A table with a header."""
    csv.field_size_limit(2**31 - 1)  # a text may be longer than the 128 kB that the module allows
    with reading(name) as file:
        lines = Lines(file, name)
        table = csv.reader(lines, delimiter=separator, strict=True)
        try:
            header = next(table, [])
            if len(header) == 1 and (by := next((c for c in ";\t|" if c in header[0]), "")):
                raise UserError(f"{name} looks separated by {by!r}, expected {separator!r}; save it so")
            for fields in filter(None, table):
                if len(fields) != len(header):
                    raise UserError(f"{lines.where()}: {len(fields)} fields, expected {len(header)} as in the header")
                yield lines.row(dict(zip(header, fields, strict=True)))
        except csv.Error as error:
            raise UserError(f"{lines.where()}: {error}") from error


def parquet(name: str) -> Iterator[Row]:
    """A Parquet file, a thousand rows in memory at a time; its rows are counted as lines, from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_memory_pool(pa.system_memory_pool())  # mimalloc and its threads keep tens of MB more, by the rows read
    with reading(name) as file:
        try:
            table = pq.ParquetFile(file)
            share = Path(name).stat().st_size // max(table.metadata.num_rows, 1)
            line = 0
            for batch in table.iter_batches(1024, use_threads=False):
                for line, values in enumerate(batch.to_pylist(), line + 1):  # noqa: B020 - counts on
                    yield Row(values, name, line, share)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise UserError(f"{name} cannot be read as Parquet: {error}; get it again") from error


READERS: dict[str, Callable[[str], Iterator[Row]]] = {
    ".csv": partial(delimited, separator=","),
    ".tsv": partial(delimited, separator="\t"),
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".parquet": parquet,
}
"""By the ending of a file's name."""
