"""An entry of the table of bad inputs, and the files that entries consist of."""

import io
import json
import os
import socket
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Special:
    """What is put at a path where a regular file is expected: `make` makes it."""

    make: Callable[[Path], object]


Content = str | bytes | None | Callable[[bytes], bytes] | Special


@dataclass(frozen=True)
class Bad:
    """One bad input."""

    name: str
    command: str
    """A module of decant and its words, as a shell reads them."""
    culprit: str
    """Part of the message: the file, row, key or value that is bad."""
    remedy: str
    """Part of the message: what was expected, or the next step."""
    files: dict[str, Content] = field(default_factory=dict)
    """By path in a finished project: what to write there; none: nothing is there; or how to change what is."""
    env: dict[str, str] = field(default_factory=dict)
    forked: bool = False
    """Whether it needs a process of its own: an MLflow store, or several devices."""


def table(*lines: str) -> str:
    """A CSV file with the columns of conf/data/mine.yaml."""
    return "\n".join(["text,intent", *lines, ""])


def messages(rows: int, labels: str = "ab") -> list[str]:
    """Lines of `table`, all different."""
    return [f"message {i},{labels[i % len(labels)]}" for i in range(rows)]


GOOD = table(*messages(40))


def parquet(**columns: list[object]) -> bytes:
    """A Parquet file."""
    return pd.DataFrame(columns).to_parquet()


def picture(value: int = 0, form: str = "PNG", **how: object) -> bytes:
    """An image file of one colour."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (9, 9), (value, value, value)).save(file, form, **how)
    return file.getvalue()


PICTURES = {f"{name}/{i}.png": picture(8 * i + 100 * j) for j, name in enumerate(("ants", "bees")) for i in range(9)}


def folder(pictures: dict[str, bytes] = PICTURES, **more: Content) -> dict[str, Content]:
    """The files of conf/data/pictures.yaml."""
    return {f"data/raw/pictures/{name}": content for name, content in (pictures | more).items()}


def zipped(files: dict[str, bytes] = PICTURES, **claims: int) -> bytes:
    """A zip archive; `claims` of its last file stand in its directory."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for claim, value in claims.items():
            setattr(archive.filelist[-1], claim, value)
    return file.getvalue()


def tarred(form: str = "", **odd: bytes | str) -> bytes:
    """A tar archive with a member more, whose attributes are `odd`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{form}") as archive:
        for name, content in PICTURES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if odd:
            member = tarfile.TarInfo("ants/more.png")
            for key, value in odd.items():
                setattr(member, key, value)
            archive.addfile(member)
    return file.getvalue()


def half(content: bytes) -> bytes:
    """A file that is cut off."""
    return content[: len(content) // 2]


def edited(old: str, new: str) -> Callable[[bytes], bytes]:
    """A text file with another passage."""

    def edit(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return edit


def changed(**values: object) -> Callable[[bytes], bytes]:
    """A JSON object with other values."""
    return lambda content: json.dumps(json.loads(content) | values).encode()


def bind(path: Path) -> None:
    """A socket, by a relative path: an address has a hundred characters."""
    with socket.socket(socket.AF_UNIX) as server, chdir(path.parent):
        server.bind(path.name)


def sparse(path: Path) -> None:
    """A file of a terabyte that takes no place on the disk."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


PIPE = Special(os.mkfifo)
SOCKET = Special(bind)
ZERO = Special(lambda path: path.symlink_to("/dev/zero"))
LOOP = Special(lambda path: path.symlink_to(path.name))
DANGLING = Special(lambda path: path.symlink_to("nowhere"))
GROWING = Special(lambda path: path.symlink_to("/proc/self/maps"))
UP = Special(lambda path: path.symlink_to(".."))
HERE_AGAIN = Special(lambda path: path.symlink_to("."))
SPARSE = Special(sparse)
DIRECTORY = Special(lambda path: path.mkdir())


def arrow(**columns: object) -> bytes:
    """A Parquet file of Arrow's types."""
    return arrow_table(pa.table({"text": [f"message {i}" for i in range(40)], "intent": ["a", "b"] * 20} | columns))


def arrow_table(table: pa.Table, **options: object) -> bytes:
    """A table as a Parquet file."""
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def json_lines(*more: str) -> str:
    """Forty good lines, and others."""
    return "".join(f'{{"text": "message {i}", "intent": "{"ab"[i % 2]}"}}\n' for i in range(40)) + "\n".join(
        [*more, ""]
    )


MINE = "data/raw/mine.csv"
HERE = "prepare use.data=mine"
PIXELS = "prepare use.data=pictures"
WEIGHTS = "data/raw/weights"
LOAD = "pretrain_load use.teacher=weights"
PREDICT = "cli predict"


CSV, PARQUET, JSONL, ZIP, TAR = (f"data/raw/t.{ending}" for ending in ("csv", "parquet", "jsonl", "zip", "tar"))
ON_CSV, ON_PARQUET, ON_JSONL = (f"{HERE} data.train={path}" for path in (CSV, PARQUET, JSONL))
ON_ZIP, ON_TAR = (f"{PIXELS} data.path={path}" for path in (ZIP, TAR))
PICTURE = "data/raw/pictures/ants/x.png"
PIECE = "conf/data/mine.yaml"
