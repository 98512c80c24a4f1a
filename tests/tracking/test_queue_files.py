from pathlib import Path

import pytest

from decant.tracking.queue_files import read_lines, read_number


@pytest.mark.parametrize(("content", "lines"), [(b"", []), (b"a\n\nb\n", [b"a", b"", b"b"]), (b"a\nb", [b"a"])])
def test_an_incomplete_last_line_is_left_out(content: bytes, lines: list[bytes], tmp_path: Path) -> None:
    assert read_lines(tmp_path / "file") == []
    (tmp_path / "file").write_bytes(content)
    assert read_lines(tmp_path / "file") == lines


@pytest.mark.parametrize(
    ("content", "number"), [(b"2\n", 2), (b"3\n", 3), (b"4\n", 0), (b"-1", 0), (b"\xff", 0), (b"", 0)]
)
def test_a_number_that_cannot_be_is_0(content: bytes, number: int, tmp_path: Path) -> None:
    assert read_number(tmp_path / "file", most=3) == 0
    (tmp_path / "file").write_bytes(content)
    assert read_number(tmp_path / "file", most=3) == number
