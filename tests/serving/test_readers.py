import io
import sys
from pathlib import Path

import pandas as pd
import pytest
from support.model_directories import picture

from decant.core.errors import UserError
from decant.serving.readers import read_rows
from decant.serving.rows import Row


def rows(file: Path, content: str | bytes, images: bool = False) -> list[Row]:
    """The rows of a file with this content."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_rows(str(file), images))


@pytest.mark.parametrize("content", ["a\nb\n", "a\r\nb\r\n", "\ufeffa\nb", "a\nb"])
def test_each_line_of_a_text_is_a_row(content: str, tmp_path: Path) -> None:
    found = rows(tmp_path / "t.txt", content)
    assert [row.values for row in found] == [{"text": "a"}, {"text": "b"}]
    assert found[1].location() == f"{tmp_path}/t.txt, line 2"


def test_an_empty_line_is_a_row(tmp_path: Path) -> None:
    assert [row.values for row in rows(tmp_path / "t.txt", "a\n\nb\n")] == [{"text": t} for t in ("a", "", "b")]


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.tsv", "\t")])
def test_a_table_has_its_columns_and_a_quoted_field_its_lines(name: str, separator: str, tmp_path: Path) -> None:
    content = f'text{separator}n\n"one\ntwo"{separator}1\nthree{separator}2\n'
    found = rows(tmp_path / name, content)
    assert [row.values for row in found] == [{"text": "one\ntwo", "n": "1"}, {"text": "three", "n": "2"}]
    assert found[1].location().endswith("line 4")


def test_json_lines_are_objects_or_texts_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    found = rows(tmp_path / "t.jsonl", '{"text": "a", "n": 1}\n\n"b"\n')
    assert [row.values for row in found] == [{"text": "a", "n": 1}, {"text": "b"}]
    assert found[1].location().endswith("line 3")


def test_parquet_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decant.serving.parquet.BATCH_ROWS", 2)
    pd.DataFrame({"text": list("abcde")}).to_parquet(tmp_path / "t.parquet")
    assert [row.values["text"] for row in read_rows(str(tmp_path / "t.parquet"), images=False)] == list("abcde")


def test_a_folder_has_its_images_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "a.JPG", "b/1.png"):
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "notes.txt").write_text("no image")
    names = [row.values["file"] for row in read_rows(str(tmp_path), images=True)]
    assert names == [str(tmp_path / name) for name in ("a.JPG", "b/1.png", "b/2.png")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "text,n\na,1\nb\n", r"line 3: 1 fields, expected 2 as in the header"),
        ("t.csv", "text;n\na;1\n", r"looks separated by ';', expected ','"),
        ("t.csv", 'text\n"a\n', r"line \d: unexpected end of data"),
        ("t.jsonl", '{"text"\n', r"line 1: not JSON"),
        ("t.jsonl", "[1]\n", r"line 1: list, expected an object or a text"),
        ("t.parquet", "PAR1", r"cannot be read as Parquet"),
        ("t.txt", b"a\n\xe9\n", r"line 2: not UTF-8; convert it"),
    ],
)
def test_a_bad_line_is_named(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        rows(tmp_path / name, content)


def test_an_image_is_no_file_of_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t\.png is an image"):
        rows(tmp_path / "t.png", picture())


def test_a_file_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        list(read_rows(str(tmp_path / "t.txt"), images=False))


@pytest.mark.parametrize(
    ("content", "expected"), [(b'{"text": "a"}\n', "a"), (b"  {\n", "  {"), (b"a\n", "a"), (b"", None)]
)
def test_the_standard_input_is_json_lines_if_it_starts_with_a_brace(
    content: bytes, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "input").write_bytes(content)
    with (tmp_path / "input").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        if expected == "  {":
            with pytest.raises(UserError, match="standard input, line 1: not JSON"):
                list(read_rows("-", images=False))
        else:
            assert [row.values["text"] for row in read_rows("-", images=False)] == ([expected] if expected else [])
