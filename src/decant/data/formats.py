"""Tables as files hold them: CSV, TSV, JSON lines, Parquet."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from decant.core.errors import UserError


def delimited(content: io.BytesIO, separator: str) -> pd.DataFrame:
    """A table with a header.

    Raises:
        ValueError: what pandas would make the best of in silence.
    """
    text = io.TextIOWrapper(content, "utf-8-sig", newline="")
    header = next(csv.reader(text, delimiter=separator), [])
    text.detach()
    content.seek(0)
    # text like "NA", "null" or "None" is text: only an empty cell is missing
    frame = pd.read_csv(content, dtype=str, sep=separator, keep_default_na=False, na_values=[""])
    if not isinstance(frame.index, pd.RangeIndex):  # the first column taken for names of rows
        raise ValueError(f"the header has {len(header)} fields, and the rows have more")
    frame.attrs["twice"] = [name for name, count in Counter(header).items() if count > 1]
    return frame


def parquet(file: io.BytesIO) -> pd.DataFrame:
    """A Parquet file; Arrow itself reads text that is not UTF-8, and fails where it is used."""
    pq.read_table(file).validate(full=True)
    file.seek(0)
    return pd.read_parquet(file)


def json_lines(file: io.BytesIO) -> pd.DataFrame:
    """A file with an object on each line."""
    try:
        return pd.read_json(file, lines=True, dtype=False)
    except (TypeError, AttributeError) as error:
        raise ValueError("a line holds something else") from error


READERS: dict[str, Callable[[io.BytesIO], pd.DataFrame]] = {
    ".csv": partial(delimited, separator=","),
    ".tsv": partial(delimited, separator="\t"),
    ".jsonl": json_lines,
    ".parquet": parquet,
}
WANTED = {
    ".csv": "a header, and as many fields in each row",
    ".tsv": "a header, and as many fields in each row",
    ".jsonl": "an object on each line",
    ".parquet": "a whole Parquet file",
}
"""What a file of each format has to be."""


def parse(path: str, content: bytes) -> pd.DataFrame:
    """The table in `content`; the ending of `path` says its format.

    Raises:
        UserError: an unknown format, text that is not UTF-8, a file that does not parse.
    """
    ending = Path(path.split("?")[0]).suffix.lower()
    ending = ".jsonl" if ending in (".json", ".ndjson") else ending
    if ending not in READERS:
        raise UserError(f"{path}: unknown format {ending!r}; known: {', '.join(READERS)}")
    try:
        if ending != ".parquet" and "\0" in (text := content.decode()):  # pandas would name a place in a piece of it
            line = text[: text.index("\0")].count("\n") + 1
            raise UserError(f"{path} holds a NUL byte near line {line}, expected text; save it anew, in UTF-8")
        return READERS[ending](io.BytesIO(content)).reset_index(drop=True)  # the position in the file is a row's id
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        given = "UTF-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "WINDOWS-1252"
        raise UserError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} near line {line}; convert it, for example "
            f"with: iconv -f {given} -t UTF-8"
        ) from error
    except (ValueError, OSError, csv.Error, pa.ArrowException) as error:  # OSError: Arrow's, of damaged pages
        reason = str(error).strip()
        raise UserError(
            f"{path} does not parse as {ending[1:]}: {reason}; expected {WANTED[ending]}: correct it, or get it again"
        ) from error


def separated(frame: pd.DataFrame) -> str:
    """What to do where all columns were taken for one; empty: they were not."""
    if len(frame.columns) != 1:
        return ""
    by = [word for sign, word in ((";", "';'"), ("\t", "tabs"), ("|", "'|'")) if sign in str(frame.columns[0])]
    return f"It looks separated by {by[0]}: save it separated by commas, or by tabs as .tsv" if by else ""
