"""Parquet files in bounded memory; every value that Python cannot hold is named by its line."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decant.core.errors import UserError
from decant.serving import parquet
from decant.serving.parquet import read_parquet


def write(file: Path, columns: dict[str, Any], **options: Any) -> str:
    pq.write_table(pa.table(columns), file, **options)
    return str(file)


def texts(count: int) -> list[str]:
    return [f"text {i}" for i in range(count)]


def test_rows_are_read_in_batches_with_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH_ROWS", 3)
    monkeypatch.setattr(parquet, "BATCH_BYTES", 20)  # a batch is divided
    rows = list(read_parquet(write(tmp_path / "t.parquet", {"text": texts(8)})))
    assert [(row.line, row.values) for row in rows] == [(i + 1, {"text": text}) for i, text in enumerate(texts(8))]


def test_dictionary_and_nested_columns_are_read(tmp_path: Path) -> None:
    columns = {"text": pa.array(["a", "b", "a"]).dictionary_encode(), "list": [[1], [], None]}
    rows = [row.values for row in read_parquet(write(tmp_path / "t.parquet", columns))]
    assert rows == [{"text": "a", "list": [1]}, {"text": "b", "list": []}, {"text": "a", "list": None}]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0] * 6 + [2**62], pa.timestamp("us")),
        pa.array([0] * 6 + [2**30], pa.date32()),
        pa.array([0] * 6 + [2**62], pa.duration("s")),
    ],
    ids=str,
)
def test_a_value_that_python_cannot_hold_is_named_by_its_line(column: pa.Array, tmp_path: Path) -> None:
    name = write(tmp_path / "t.parquet", {"text": texts(7), "when": column})
    rows = read_parquet(name)
    assert [next(rows).line for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(UserError, match=r"t.parquet, line 7 cannot be read as Parquet: .*; get it again"):
        next(rows)


def test_an_unknown_time_zone_is_an_error_of_the_file(tmp_path: Path) -> None:
    name = write(tmp_path / "t.parquet", {"when": pa.array([0], pa.timestamp("us", tz="Mars/Base"))})
    with pytest.raises(UserError, match="line 1 cannot be read as Parquet"):
        list(read_parquet(name))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UserError, match="two columns are called 'text'"):
        list(read_parquet(str(tmp_path / "t.parquet")))


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip"])
def test_a_damaged_page_is_an_error_of_the_file(compression: str, tmp_path: Path) -> None:
    name = write(tmp_path / "t.parquet", {"text": texts(3000)}, compression=compression, use_dictionary=False)
    content = bytearray(Path(name).read_bytes())
    content[60:200] = bytes(value ^ 0x5A for value in content[60:200])
    Path(name).write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        list(read_parquet(name))


@pytest.mark.slow
@pytest.mark.parametrize("imported", ["", "pyarrow.parquet"])
def test_a_process_that_reads_its_first_file_has_memory_for_it(imported: str, tmp_path: Path) -> None:
    """The allocator that pyarrow takes by default reserves 1 GiB at its first use."""
    name = write(tmp_path / "t.parquet", {"text": texts(3000)})
    script = (
        f"{'import ' + imported if imported else ''}\n"
        "from decant.serving.parquet import read_parquet\n"
        f"assert sum(1 for _ in read_parquet({name!r})) == 3000\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("store_schema", [True, False])
def test_a_small_file_cannot_take_all_memory(store_schema: bool, tmp_path: Path) -> None:
    """Its 2 kB are 1000 rows of 4 MB; without a limit they take 4 GB."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * 2**22]))
    options = {"compression": "zstd", "dictionary_pagesize_limit": 2**30, "store_schema": store_schema}
    name = write(tmp_path / "t.parquet", {"text": column}, **options)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(UserError, match="its rows take more than 2,048 MB; write it with less in a row"):
        list(read_parquet(name))
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_row_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_BYTES", 100)
    monkeypatch.setattr(parquet, "BATCH_BYTES", 100)
    rows = read_parquet(write(tmp_path / "t.parquet", {"text": ["a", "x" * 100]}))
    assert next(rows).values == {"text": "a"}
    with pytest.raises(UserError, match=r"line 2: a row of \d+ bytes, expected at most 100"):
        next(rows)
