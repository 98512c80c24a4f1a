"""Zip and tar archives, read in memory: nothing is unpacked to disk."""

import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath

from decant.core.errors import UserError
from decant.data.archive_limits import TooLarge, size_limit
from decant.data.archive_tar import read_tar
from decant.data.archive_zip import read_zip

DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, KeyError, NotImplementedError),  # a link to nothing; an unknown compression
    *(RecursionError, struct.error),  # a link to itself; a truncated field
)
"""What `zipfile` and `tarfile` raise for archives that cannot be read."""


def read_archive(path: str, content: bytes) -> dict[str, bytes]:
    """{name (relative, with /): bytes} of every file in the archive `content`; `path` names it in messages.

    Raises:
        UserError: not an archive, damaged or encrypted; it has links, or paths that point outside; too large.
    """
    limit = size_limit(content)
    try:
        files = read_zip(path, content, limit) if content.startswith(b"PK") else read_tar(path, content, limit)
    except TooLarge as error:
        raise UserError(
            f"{path} unpacks to more than {limit >> 20:,} MiB from {len(content) >> 10:,} KiB, as archives do that are "
            "made to fill a machine; if you trust it, unpack it and give the folder"
        ) from error
    except DAMAGED as error:
        reason = str(error).partition("\n")[0]  # tarfile gives one line per compression it tried
        raise UserError(
            f"{path} does not unpack as a zip or tar archive: {reason}; get it again, or unpack it and give the folder"
        ) from error
    return {str(PurePosixPath(name)): data for name, data in files.items()}
