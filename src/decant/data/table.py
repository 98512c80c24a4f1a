"""Any CSV, TSV, JSON lines or Parquet file, by path or URL, with the columns that its yaml names."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

import fsspec  # type: ignore[import-untyped]
import pandas as pd
import pyarrow as pa

from decant import UserError
from decant.data import SPLITS, Source, numbered

READERS: dict[str, Callable[[io.BytesIO], pd.DataFrame]] = {
    # text like "NA", "null" or "None" is text: only an empty cell is missing
    ".csv": lambda b: pd.read_csv(b, dtype=str, keep_default_na=False, na_values=[""]),
    ".tsv": lambda b: pd.read_csv(b, dtype=str, sep="\t", keep_default_na=False, na_values=[""]),
    ".jsonl": lambda b: pd.read_json(b, lines=True, dtype=False),
    ".parquet": pd.read_parquet,
}


@dataclass(kw_only=True)
class Table(Source):
    """Files with one row per example."""

    train: str
    validation: str | None = None
    test: str | None = None
    unlabelled: str | None = None
    input: str
    """Column with the input."""
    target: str
    """Column with the label."""
    row_id: str | None = None
    """Column with a unique id; default: the position in the file."""
    classes: list[str] | None = None
    """Keep only the labelled rows of these classes."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Expected digest per split, for files that DVC does not see (outside data/raw)."""

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`; problems of all files are raised together."""
        tables, problems = {}, []
        for split in SPLITS:
            if path := getattr(self, split):
                try:
                    tables[split] = self._read(split, path)
                except UserError as error:
                    problems += error.problems
        if problems:
            raise UserError(problems)
        return tables

    def _read(self, split: str, path: str) -> pd.DataFrame:
        content = fetch(path)
        digest = hashlib.sha256(content).hexdigest()
        if self.sha256.get(split, digest) != digest:
            raise UserError(
                f"{path}: sha256 is {digest}, expected {self.sha256[split]}; it is another file than the yaml "
                "was written for: get the right one, or put the new digest into the yaml"
            )
        frame = parse(path, content)
        names = {self.input: "input"} | ({self.target: "target"} if split != "unlabelled" else {})
        wanted = [*names, *([self.row_id] if self.row_id else [])]
        if lacking := [c for c in wanted if c not in frame]:
            raise UserError(
                f"{path} has no column {', '.join(map(repr, lacking))}; it has: {', '.join(map(repr, frame))}. "
                "Name the columns in conf/data/ with input:, target: and row_id:"
            )
        frame = frame[wanted].rename(columns=names)
        if self.classes and split != "unlabelled":
            if unknown := set(self.classes) - set(frame["target"].astype(str)):
                raise UserError(f"{path} has no rows of the classes {sorted(unknown)} that classes: asks for")
            frame = frame[frame["target"].astype(str).isin(self.classes)]
        return numbered(frame, split, self.row_id)


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
            f"no file {path}; expected a data file there: put it there, or name another in conf/data/"
        ) from error
    except (OSError, URLError, ValueError, ImportError) as error:
        raise UserError(f"{path} cannot be read: {error}; check the path or the network") from error
    except Exception as error:
        # aiohttp's errors derive from Exception alone, and are there only with fsspec[http]
        raise UserError(f"{path} cannot be fetched: {error}; check the network") from error


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
        return READERS[ending](io.BytesIO(content))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} near line {line}; convert it, for example "
            f"with: iconv -f WINDOWS-1252 -t UTF-8"
        ) from error
    except (ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} does not parse as {ending[1:]}: {error}") from error
