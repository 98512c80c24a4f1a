"""Files by path or URL: their bytes, with a digest that is checked."""

import hashlib
from pathlib import Path
from urllib.error import URLError

import fsspec  # type: ignore[import-untyped]

from decant.core.errors import UserError


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
