import os
import socket
import time
from pathlib import Path

import pytest

from decant.core.errors import UserError
from decant.serving import limits
from decant.serving.limits import MAX_DEPTH, MAX_VALUES, BadJson, check_columns, open_regular, parse_json, read_image


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, "b", null, true]}', {"a": [1, 2.5, "b", None, True]}),
        ("[NaN, Infinity, -Infinity]", [None, None, None]),
        ("1" * 1000, int("1" * 1000)),
        ("0." + "1" * 5000, 1 / 9),
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, None),
        ('"' + "[" * 5000 + '"', "[" * 5000),
        ("-0", 0),
        ('["' + ",[{" * MAX_VALUES + '", "\\"' + "," * MAX_VALUES + '"]', None),
    ],
)
def test_json_within_the_limits_is_read(text: str, value: object) -> None:
    parsed = parse_json(text)
    assert value is None or parsed == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000 + "]" * 100_000, f"nested more than {MAX_DEPTH} deep"),
        ('{"a":' * 100_000, f"nested more than {MAX_DEPTH} deep"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"nested more than {MAX_DEPTH} deep"),
        ("[" + "1" * 5000 + "]", "a number of 5,000 digits, expected at most 1,000"),
        ("[" + "[]," * MAX_VALUES + "[]]", "more than 200,000 values"),
        ('["\\\\",' + "0," * MAX_VALUES + "0]", "more than 200,000 values"),
        ('["' + '\\"' * 1_000_000, "not JSON"),
        ('[{"a": 1, "b": {"c": 1, "c": 2}}]', "the key 'c' twice in an object"),
    ],
)
def test_other_json_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(BadJson, match=message):
        parse_json(text)


def test_two_columns_of_one_name_are_refused() -> None:
    check_columns("t.csv, line 1", ["a", "b"])
    with pytest.raises(UserError, match=r"t.csv, line 1: two columns are called 'a'; rename one"):
        check_columns("t.csv, line 1", ["a", "b", "a"])
    with pytest.raises(UserError, match="10,001 columns, expected at most 10,000"):
        check_columns("t.csv", list(map(str, range(10_001))))


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    start = time.monotonic()
    for name, message in (
        ("fifo", "is a pipe, expected a regular file; the standard input"),
        ("zero", "is a device, expected a regular file"),
        ("loop", "cannot be read: Too many levels of symbolic links"),
        (".", "is a folder, expected a regular file"),
        ("absent", "cannot be read: No such file"),
        ("socket", "cannot be read: No such device"),
        ("a" * 5000, "cannot be read: File name too long"),
        ("a\0b", "cannot be read: embedded null byte"),
    ):
        with pytest.raises(UserError, match=message):
            open_regular(str(tmp_path / name))
    assert time.monotonic() - start < 1


def test_an_image_file_that_is_too_large_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_IMAGE_BYTES", 10)
    (tmp_path / "a.png").write_bytes(bytes(10))
    assert read_image(str(tmp_path / "a.png")) == bytes(10)
    os.truncate(tmp_path / "a.png", 2**40)
    with pytest.raises(UserError, match="larger than 10 bytes"):
        read_image(str(tmp_path / "a.png"))
