"""Zip archives."""

import io
import zipfile

from decant.core.errors import UserError
from decant.data import count_files
from decant.data.archive_limits import TooLarge, path_problems


def read_zip(path: str, content: bytes, limit: int) -> dict[str, bytes]:
    """{name: bytes} of the files in a zip archive; see `read_archive`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # some Windows programs write backslashes
        members = {m.filename.replace("\\", "/"): m for m in archive.infolist()}
        members = {name: m for name, m in members.items() if not name.endswith("/")}
        if problems := [*path_problems(path, members), *_unreadable(path, members)]:
            raise UserError(problems)
        if sum(m.file_size for m in members.values()) > limit:
            raise TooLarge
        return {name: _read(archive, member) for name, member in members.items()}


def _unreadable(path: str, members: dict[str, zipfile.ZipInfo]) -> list[str]:
    problems = []
    if encrypted := [n for n, m in members.items() if m.flag_bits & 1]:
        problems.append(f"{path}: {count_files(encrypted)} encrypted, expected none; unpack it and give the folder")
    # with other compressions, zipfile unpacks more than it is asked for
    bounded = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if other := [n for n, m in members.items() if m.compress_type not in bounded]:
        problems.append(f"{path}: {count_files(other)} compressed by other than deflate; unpack it and give the folder")
    return problems


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        return file.read(member.file_size + 1)  # without a size, more than the declared bytes would be unpacked
