"""Parquet files as tables."""

import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decant.core.errors import UserError
from decant.data import parquet
from decant.data.table import Table

TEXTS = [f"message {i}" for i in range(8)]
LABELS = ["a", "b"] * 4
CLAIMS: dict[str, object] = {
    "a column that is not there": {"index_columns": ["nowhere"], "columns": [{"name": 1}], "column_indexes": []},
    "a range without step": {
        "index_columns": [{"kind": "range", "start": 0, "stop": 10**9, "step": 0}],
        "columns": [],
        "column_indexes": [],
    },
    "an unknown type": {
        "index_columns": [],
        "columns": [
            {"name": "intent", "field_name": "intent", "pandas_type": "x", "numpy_type": "x[9]", "metadata": 3}
        ],
        "column_indexes": [{"name": None, "pandas_type": "x", "numpy_type": "x"}],
    },
    "the texts as index": {"index_columns": ["text"], "columns": [], "column_indexes": []},
    "a list": [],
    "nothing": None,
}


def load(table: pa.Table | bytes, folder: Path, **options: object) -> pd.DataFrame:
    file = folder / "a.parquet"
    file.write_bytes(table) if isinstance(table, bytes) else pq.write_table(table, file)
    return Table(train=str(file), **({"input": "text", "target": "intent"} | options)).load()["train"]


@pytest.mark.parametrize("claim", [*CLAIMS, "no JSON"])
def test_what_a_file_claims_of_pandas_does_not_matter(claim: str, tmp_path: Path) -> None:
    content = json.dumps(CLAIMS[claim]).encode() if claim in CLAIMS else b"{"
    table = pa.table({"text": TEXTS, "intent": LABELS}).replace_schema_metadata({b"pandas": content})
    frame = load(table, tmp_path)
    assert (frame["input"].tolist(), frame["target"].tolist()) == (TEXTS, LABELS)


@pytest.mark.parametrize("column", ["text", "intent"])
def test_a_dictionary_is_read_as_its_values(column: str, tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "intent": LABELS})
    encoded = table.set_column(table.column_names.index(column), column, table[column].dictionary_encode())
    assert load(encoded, tmp_path).equals(load(table, tmp_path))


def test_lists_and_numbers_in_dictionaries_are_read_as_their_values(tmp_path: Path) -> None:
    lists = pa.array([["a"], ["b"]] * 4, pa.list_(pa.dictionary(pa.int32(), pa.string())))
    assert load(pa.table({"text": TEXTS, "intent": lists}), tmp_path)["target"].tolist() == [["a"], ["b"]] * 4
    numbers = pa.array([1, 2] * 4).dictionary_encode()
    assert load(pa.table({"text": TEXTS, "intent": numbers}), tmp_path)["target"].tolist() == ["1", "2"] * 4


VALUES = {
    "whole numbers with gaps": (pa.array([2**60, None] * 4), [str(2**60), None]),
    "switches": (pa.array([True, False] * 4), ["True", "False"]),
    "dates": (pa.array([0, 1] * 4, pa.date32()), ["1970-01-01", "1970-01-02"]),
    "years after 9999": (pa.array([9 * 10**18, 0] * 4, pa.timestamp("us")), ["287168-08-24 16:00:00", "1970-01-01"]),
    "bytes of text": (pa.array([b"a", b"b"] * 4), ["a", "b"]),
    "an extension": (pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1", "2"] * 4)), ["1", "2"]),
}


@pytest.mark.parametrize("case", VALUES)
def test_labels_of_any_type_become_text(case: str, tmp_path: Path) -> None:
    labels, expected = VALUES[case]
    target = load(pa.table({"text": TEXTS, "intent": labels}), tmp_path)["target"][:2]
    assert [None if pd.isna(x) else x.removesuffix(" 00:00:00") for x in target] == expected


WITHOUT_TEXT = {
    "a year after 9999": pa.array([2**31 - 1] * 8, pa.date32()),
    "a time after midnight": pa.array([2**62] * 8, pa.time64("us")),
    "a time zone that is not there": pa.array([0] * 8, pa.timestamp("us", "Nowhere/At_All")),
    "bytes that are no text": pa.array([b"\xff"] * 8),
}


@pytest.mark.parametrize("case", WITHOUT_TEXT)
def test_values_without_a_text_form_are_refused_by_column(case: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.parquet.*column.*expected"):
        load(pa.table({"text": TEXTS, "intent": WITHOUT_TEXT[case]}), tmp_path)


def test_a_column_that_is_there_twice_is_refused_where_it_is_used(tmp_path: Path) -> None:
    table = pa.table([TEXTS, LABELS, LABELS], names=["text", "intent", "intent"])
    with pytest.raises(UserError, match="two columns are called 'intent'; expected one: rename the other"):
        load(table, tmp_path)
    assert len(load(pa.table([TEXTS, LABELS, LABELS, LABELS], names=["text", "intent", "x", "x"]), tmp_path)) == 8


def repeated(characters: int, rows: int) -> pa.Table:
    """One text, stored once for many rows."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * characters]))
    return pa.table({"text": texts, "intent": ["a"] * rows})


@pytest.mark.parametrize("store_schema", [True, False])
def test_a_text_that_repeats_until_it_fills_the_memory_is_refused_before_it_does(
    store_schema: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    pq.write_table(repeated(900_000, 100_000), file, store_schema=store_schema)  # 90 GB
    assert len(file.getvalue()) < 1 << 20
    with pytest.raises(UserError, match="do not fit into memory"):
        load(file.getvalue(), tmp_path)


def test_a_text_above_the_limit_of_a_cell_is_refused_by_its_column(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a cell of the column 'text' has 5,000,000 bytes"):
        load(repeated(5_000_000, 2), tmp_path)


def test_rows_that_a_file_only_claims_are_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "memory_limit", lambda: 100)
    with pytest.raises(UserError, match="bytes, but the free memory is for 100"):
        load(pa.table({"text": TEXTS, "intent": LABELS}), tmp_path)


def test_too_many_columns_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_COLUMNS", 1)
    with pytest.raises(UserError, match="2 columns, expected at most 1"):
        load(pa.table({"text": TEXTS, "intent": LABELS}), tmp_path)
