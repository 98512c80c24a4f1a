"""Files by path or URL: their bytes, with a digest that is checked, and the tables in them."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import fsspec  # type: ignore[import-untyped]
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from decant import UserError


def fetch(path: str) -> bytes:
    """The bytes at a path or URL.

    Raises:
        UserError: where there is nothing, or no network.
    """
    try:
        with fsspec.open(path) as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        if "://" in path:  # fsspec says this of a server that does not answer, too
            raise UserError(f"{path} cannot be fetched; check the address and the network") from error
        raise UserError(
            f"no file {path}; put it there, name another in conf/data/, or set the variable that stands there "
            "(DECANT_DATA=<folder>)"
        ) from error
    except (OSError, URLError, ValueError, ImportError) as error:
        raise UserError(f"{path} cannot be read: {error}; check the path or the network") from error
    except Exception as error:
        # aiohttp's errors derive from Exception alone, and are there only with fsspec[http]
        raise UserError(f"{path} cannot be fetched: {error}; check the network") from error


def remote(path: str) -> bool:
    """Whether it is a URL of another machine."""
    return "://" in path and not path.startswith("file://")


def verify(path: str, content: bytes, sha256: str | None, key: str = "sha256: %s") -> None:
    """Nothing, when `content` has the expected digest; or none is expected, of a file on this machine.

    `key`: how the yaml names a digest.

    Raises:
        UserError: with what to put into the yaml.
    """
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is None and remote(path):
        raise UserError(
            f"{path} is a download without a digest, so nobody would notice another file; if what is there now is what "
            f"you mean, put this into the yaml: {key % digest}"
        )
    if sha256 not in (None, digest):
        raise UserError(
            f"{path}: sha256 is {digest}, expected {sha256}; it is another file than the yaml "
            "was written for: get the right one, or put the new digest into the yaml"
        )


def beside(table: str, name: str) -> str:
    """The path or URL of the file that `table` calls `name`: relative to the table's folder."""
    if "://" in table:
        return f"{table.partition('?')[0].rpartition('/')[0]}/{name}"
    return str(Path(table).parent / name)


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
        raise ValueError("expected an object on each line") from error


READERS: dict[str, Callable[[io.BytesIO], pd.DataFrame]] = {
    # text like "NA", "null" or "None" is text: only an empty cell is missing
    ".csv": lambda b: pd.read_csv(b, dtype=str, keep_default_na=False, na_values=[""]),
    ".tsv": lambda b: pd.read_csv(b, dtype=str, sep="\t", keep_default_na=False, na_values=[""]),
    ".jsonl": json_lines,
    ".parquet": parquet,
}


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
        if ending != ".parquet":
            content.decode()  # pandas decodes in pieces, and would name a place in one of them
        return READERS[ending](io.BytesIO(content)).reset_index(drop=True)  # the position in the file is a row's id
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} near line {line}; convert it, for example "
            f"with: iconv -f WINDOWS-1252 -t UTF-8"
        ) from error
    except (ValueError, OSError, pa.ArrowException) as error:  # OSError: Arrow's, of damaged pages
        raise UserError(f"{path} does not parse as {ending[1:]}: {error}") from error
