"""How files of a user are read."""

import io
import os
import socket
from pathlib import Path

import pytest

from decant.core import reading
from decant.core.errors import UserError
from decant.core.reading import parsing, read_file, read_stream


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


IRREGULAR = {
    "a folder": Path.mkdir,
    "a pipe": pipe,
    "a socket": listening_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "where there is nothing": lambda path: path.symlink_to("nowhere"),
    "symbolic links": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may have a hundred characters
    IRREGULAR[kind](Path("a"))
    with pytest.raises(UserError, match=rf"^a (cannot be read|is a link).*{kind}.*(check|correct)"):
        read_file(Path("a"), 10)


def test_a_pipe_that_replaces_the_file_before_it_is_opened_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    status = file.stat()
    file.unlink()
    os.mkfifo(file)
    monkeypatch.setattr(Path, "stat", lambda _: status)
    with pytest.raises(UserError, match="it is a pipe"):
        read_file(file, 10)


def test_a_regular_file_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "b").symlink_to("a")
    assert read_file(tmp_path / "b", 10) == b"x" * 10
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "c", 10)


def test_more_bytes_than_allowed_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)  # no bytes on the disk
    with pytest.raises(UserError, match="bytes or more, expected at most 10; give a smaller file"):
        read_file(tmp_path / "a", 10)
    with pytest.raises(UserError, match="of the free memory"):
        read_file(tmp_path / "a")


def test_a_file_that_holds_more_than_its_size_says_is_refused() -> None:
    with pytest.raises(UserError, match="grows while it is read"):
        read_file(Path("/proc/self/maps"), 10)


def test_a_download_without_end_is_refused_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(10)

    monkeypatch.setattr(reading, "memory_limit", lambda: 25)
    with pytest.raises(UserError, match="https://x/a has 30 bytes or more"):
        read_stream("https://x/a", Endless())
    assert read_stream("a", io.BytesIO(bytes(20))) == bytes(20)


@pytest.mark.parametrize(
    "error", [ValueError("bad\n"), KeyError(3), RecursionError(), OSError(5, "broken"), Exception()]
)
def test_any_error_of_a_library_becomes_one_sentence_with_a_remedy(error: Exception) -> None:
    with (
        pytest.raises(UserError, match=r"^a\.csv does not parse: \S.*; get it again$") as caught,
        parsing("a.csv does not parse", "get it again"),
    ):
        raise error
    assert caught.value.__cause__ is error


def test_a_long_message_of_a_library_is_cut() -> None:
    with pytest.raises(UserError) as caught, parsing("a", "b"):
        raise ValueError("x" * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("error", [UserError("own words"), MemoryError(), KeyboardInterrupt()])
def test_messages_of_decant_and_exhausted_memory_pass_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, parsing("a", "b"):
        raise error
    assert caught.value is error
