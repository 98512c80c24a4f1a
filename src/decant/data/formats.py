"""File formats of tables: CSV, TSV, JSON lines, Parquet."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from decant.core.errors import UserError
from decant.core.reading import parsing
from decant.data.json_lines import read_json_lines
from decant.data.limits import MAX_COLUMNS
from decant.data.parquet import read_parquet


def read_delimited(file: io.BytesIO, separator: str) -> pd.DataFrame:
    """A table with a header.

    Raises:
        ValueError: rows with more fields than the header, which pandas would silently take for row names.
    """
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    header = next(csv.reader(text, delimiter=separator), [])
    text.detach()
    file.seek(0)
    if len(header) > MAX_COLUMNS:
        raise ValueError(f"the header has {len(header):,} fields, expected at most {MAX_COLUMNS:,}")
    # text like "NA", "null" or "None" is text: only an empty cell is missing
    frame = pd.read_csv(file, dtype=str, sep=separator, keep_default_na=False, na_values=[""])
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"the header has {len(header)} fields, and the rows have more")
    frame.attrs["duplicate_names"] = [name for name, count in Counter(header).items() if count > 1]
    return frame


READERS: dict[str, Callable[[io.BytesIO], pd.DataFrame]] = {
    ".csv": partial(read_delimited, separator=","),
    ".tsv": partial(read_delimited, separator="\t"),
    ".jsonl": read_json_lines,
    ".parquet": read_parquet,
}
EXPECTED = {
    ".csv": "a header, and as many fields in each row",
    ".tsv": "a header, and as many fields in each row",
    ".jsonl": "an object on each line",
    ".parquet": "a whole Parquet file",
}
"""What a file of each format consists of, for messages."""


def parse(path: str, content: bytes) -> pd.DataFrame:
    """The table in `content`; the suffix of `path` says its format. The index is the position in the file.

    Raises:
        UserError: an unknown format, text that is not UTF-8, a file that does not parse.
    """
    suffix = Path(path.split("?")[0]).suffix.lower()
    suffix = ".jsonl" if suffix in (".json", ".ndjson") else suffix
    if suffix not in READERS:
        raise UserError(f"{path}: unknown format {suffix!r}; known: {', '.join(READERS)}")
    if suffix != ".parquet":
        _require_text(path, content)
    remedy = f"expected {EXPECTED[suffix]}: correct it, or get it again"
    with parsing(f"{path} does not parse as {suffix[1:]}", remedy):
        return READERS[suffix](io.BytesIO(content)).reset_index(drop=True)


def _require_text(path: str, content: bytes) -> None:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        encoding = "UTF-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "WINDOWS-1252"
        raise UserError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} near line {line}; convert it, for example "
            f"with: iconv -f {encoding} -t UTF-8"
        ) from error
    if "\0" in text:  # pandas would give a position within a chunk of the file
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(f"{path} holds a NUL byte near line {line}, expected text; save it again, in UTF-8")


def separator_advice(frame: pd.DataFrame) -> str:
    """The next step for a file whose columns were read as a single one; "" for any other file."""
    if len(frame.columns) != 1:
        return ""
    separators = ((";", "';'"), ("\t", "tabs"), ("|", "'|'"))
    likely = [name for separator, name in separators if separator in str(frame.columns[0])]
    return f"It looks separated by {likely[0]}: save it separated by commas, or by tabs as .tsv" if likely else ""
