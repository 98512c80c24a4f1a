"""Files by path or URL: their bytes, checked against a digest."""

import hashlib
from pathlib import Path
from urllib.error import URLError

import fsspec  # type: ignore[import-untyped]

from decant.core.errors import UserError
from decant.core.reading import read_file, read_stream


def fetch(path: str) -> bytes:
    """The bytes at a path or URL.

    Raises:
        UserError: there is no such file, or no network; it is no regular file, or does not fit into memory.
    """
    if not is_remote(path):
        return _read_local(path)
    try:
        with fsspec.open(path) as file:
            return read_stream(path, file)
    except FileNotFoundError as error:  # fsspec raises this for a server that does not answer, too
        raise UserError(f"{path} cannot be fetched; check the address and the network") from error
    except (OSError, URLError, ValueError, ImportError) as error:
        raise UserError(f"{path} cannot be read: {error}; check the path or the network") from error
    except UserError:
        raise
    except Exception as error:
        # aiohttp's errors derive from Exception alone, and exist only with fsspec[http]
        raise UserError(f"{path} cannot be fetched: {error}; check the network") from error


def _read_local(path: str) -> bytes:
    try:
        return read_file(Path(path.removeprefix("file://")).expanduser())
    except (FileNotFoundError, RuntimeError) as error:  # RuntimeError: the home folder of nobody
        raise UserError(
            f"no file {path}; put it there, name another in conf/data/, or set the variable that stands there "
            "(DECANT_DATA=<folder>)"
        ) from error


def is_remote(path: str) -> bool:
    """Whether `path` is a URL of another machine."""
    return "://" in path and not path.startswith("file://")


def verify(path: str, content: bytes, sha256: str | None, key: str = "sha256: %s") -> None:
    """Check `content` against the expected digest; only a file on this machine may have none.

    `key`: how the yaml spells a digest, for the message.

    Raises:
        UserError: with what to put into the yaml.
    """
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is None and is_remote(path):
        raise UserError(
            f"{path} is a download without a digest, so a changed file would go unnoticed; if the present one is "
            f"right, put this into the yaml: {key % digest}"
        )
    if sha256 not in (None, digest):
        raise UserError(
            f"{path}: sha256 is {digest}, expected {sha256}; it is another file than the one the yaml "
            "was written for: get the right one, or put the new digest into the yaml"
        )


def resolve(table: str, name: str) -> str:
    """The path or URL of a file that a table names relative to its own folder."""
    if "://" in table:
        return f"{table.partition('?')[0].rpartition('/')[0]}/{name}"
    return str(Path(table).parent / name)
