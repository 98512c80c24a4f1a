"""Parquet files: damage, claims that are not so, and values that no text is."""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from support.bad_inputs.builders import (
    HERE,
    MINE,
    ON_PARQUET,
    PARQUET,
    Bad,
    arrow,
    arrow_table,
    json_lines,
)

WHOLE = arrow()
N = range(40)


def flipped(position: int, count: int = 8) -> bytes:
    """A file with other bytes at a position (from the end, where it is negative)."""
    content = bytearray(WHOLE)
    start = position % len(content)
    content[start : start + count] = bytes(255 - byte for byte in content[start : start + count])
    return bytes(content)


def paged(compression: str) -> bytes:
    """A file whose first page does not have the bytes that its checksum says."""
    content = bytearray(
        arrow_table(pq.read_table(io.BytesIO(WHOLE)), compression=compression, write_page_checksum=True)
    )
    content[60:68] = bytes(255 - byte for byte in content[60:68])
    return bytes(content)


def repeated(rows: int, characters: int) -> bytes:
    """One text that is stored once for many rows."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * characters]))
    return arrow_table(pa.table({"text": texts, "intent": ["a"] * rows}), store_schema=False)


PARQUET_FILES = [
    Bad("parquet without bytes", ON_PARQUET, "t.parquet does not parse as parquet", "a whole Parquet file", {PARQUET: b""}),
    Bad("parquet of its mark alone", ON_PARQUET, "t.parquet does not parse as parquet", "a whole Parquet file", {PARQUET: b"PAR1"}),
    Bad("parquet of two marks", ON_PARQUET, "t.parquet does not parse as parquet", "a whole Parquet file", {PARQUET: b"PAR1\0\0\0\0PAR1"}),
    Bad("parquet without its end", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: WHOLE[:-4]}),
    Bad("parquet without its start", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: WHOLE[100:]}),
    Bad("parquet with a footer of 4 GB", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: WHOLE[:-8] + b"\xff\xff\xff\xffPAR1"}),
    Bad("parquet with wrong bytes in its footer", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: flipped(-200, 100)}),
    Bad("parquet with wrong bytes in a page", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: flipped(10, 60)}),
    Bad("parquet by snappy with wrong bytes", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: paged("snappy")}),
    Bad("parquet by gzip with wrong bytes", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: paged("gzip")}),
    Bad("parquet by zstd with wrong bytes", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: paged("zstd")}),
    Bad("parquet by brotli with wrong bytes", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: paged("brotli")}),
    Bad("parquet by lz4 with wrong bytes", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: paged("lz4")}),
    Bad("encrypted parquet", ON_PARQUET, "t.parquet does not parse as parquet", "get it again", {PARQUET: WHOLE[:-4] + b"PARE"}),
    Bad("arrow file called parquet", ON_PARQUET, "t.parquet does not parse as parquet", "a whole Parquet file", {PARQUET: b"ARROW1\0\0" + bytes(200) + b"ARROW1"}),
    Bad("orc file called parquet", ON_PARQUET, "t.parquet does not parse as parquet", "a whole Parquet file", {PARQUET: b"ORC" + bytes(range(200))}),
    Bad("json called parquet", ON_PARQUET, "t.parquet does not parse as parquet", "a whole Parquet file", {PARQUET: json_lines()}),
    Bad("parquet called csv", HERE, "mine.csv", "iconv", {MINE: WHOLE}),
    Bad("parquet with an Arrow schema that is none", ON_PARQUET, "t.parquet does not parse as parquet: Invalid base64", "get it again", {PARQUET: arrow_table(pq.read_table(io.BytesIO(WHOLE)).replace_schema_metadata({b"ARROW:schema": b"x"}))}),
    Bad("parquet without columns", ON_PARQUET, "t.parquet has no column 'text', 'intent'", "Name the columns", {PARQUET: arrow_table(pa.table({}))}),
    Bad("parquet without rows", ON_PARQUET, "train has no labelled rows", "expected some", {PARQUET: arrow_table(pa.table({"text": pa.array([], "string"), "intent": pa.array([], "string")}))}),
    Bad("parquet with its texts as index, by another name", ON_PARQUET, "no column 'text'; it has: 'intent', 'key'", "Name the columns", {PARQUET: pd.DataFrame({"key": [str(i) for i in N], "intent": ["a", "b"] * 20}).set_index("key").to_parquet()}),
    Bad("parquet with a target twice", ON_PARQUET, "two columns are called 'intent'", "rename the other", {PARQUET: arrow_table(pa.table([[str(i) for i in N], ["a", "b"] * 20, ["a"] * 40], names=["text", "intent", "intent"]))}),
    Bad("parquet with an input twice", ON_PARQUET, "two columns are called 'text'", "rename the other", {PARQUET: arrow_table(pa.table([[str(i) for i in N], [str(i) for i in N], ["a", "b"] * 20], names=["text", "text", "intent"]))}),
    Bad("dates that Python does not have", ON_PARQUET, "the column 'intent': year 5881580 is out of range", "correct it", {PARQUET: arrow(intent=pa.array([2**31 - 1] * 40, "date32"))}),
    Bad("times of day after midnight", ON_PARQUET, "the column 'intent'", "correct it", {PARQUET: arrow(intent=pa.array([2**62] * 40, pa.time64("us")))}),
    Bad("times of no zone", ON_PARQUET, "the column 'intent'", "correct it", {PARQUET: arrow(intent=pa.array([0] * 40, pa.timestamp("us", "Nowhere/At_All")))}),
    Bad("a time for each row as labels", ON_PARQUET, "one row of '2001-09-09 01:46:40'", "add rows or remove the class", {PARQUET: arrow(intent=pa.array([10**15 + i * 10**12 for i in N], pa.timestamp("us")))}),
    Bad("labels of bytes that are no text", ON_PARQUET, "t.parquet: the column of 'target' holds bytes", "expected text or numbers", {PARQUET: arrow(intent=pa.array([b"\xff\xfe"] * 40))}),
    Bad("texts that are not UTF-8", ON_PARQUET, "the column 'text': ", "a whole Parquet file", {PARQUET: arrow_table(pq.read_table(io.BytesIO(WHOLE)), compression="none").replace(b"message 7", b"mess\xff\xff\xff\xff7")}),
    Bad("labels that are all missing", ON_PARQUET, "train has no labelled rows", "expected some", {PARQUET: arrow(intent=pa.nulls(40))}),
    Bad("texts that are all missing", ON_PARQUET, "train has 40 rows with an empty input", "empty: drop", {PARQUET: arrow(text=pa.nulls(40, "string"))}),
    Bad("mappings as texts", ON_PARQUET, "t.parquet holds dict as input", "name another column with input:", {PARQUET: arrow(text=[{"a": i} for i in N])}),
    Bad("lists as texts", ON_PARQUET, "t.parquet holds ndarray as input", "name another column with input:", {PARQUET: arrow(text=[[str(i)] for i in N])}),
    Bad("maps as texts", ON_PARQUET, "t.parquet holds list as input", "name another column with input:", {PARQUET: arrow(text=pa.array([[("a", i)] for i in N], pa.map_("string", "int64")))}),
    Bad("bytes as texts", ON_PARQUET, "t.parquet holds images as input", "set size:", {PARQUET: arrow(text=[b"x%d" % i for i in N])}),
    Bad("lists of lists as labels of one class", ON_PARQUET, "lists of labels", "use.task multilabel", {PARQUET: arrow(intent=[[["a"]]] * 40)}),
    Bad("numbers as images", f"{ON_PARQUET} +data.size=8", "t.parquet holds int as input", "remove size:", {PARQUET: arrow(text=list(N))}),
    Bad("lists as images", f"{ON_PARQUET} +data.size=8", "t.parquet holds ndarray as input", "remove size:", {PARQUET: arrow(text=[[i] for i in N])}),
    Bad("a text of five million bytes in parquet", ON_PARQUET, "a cell of the column 'text' has 5,000,000 bytes", "correct it", {PARQUET: repeated(2, 5_000_000)}),
    Bad("a text of two million characters in parquet", ON_PARQUET, "t.parquet, row 1, column 'text': a cell of 2,000,000 characters", "shorten it", {PARQUET: repeated(2, 2_000_000)}),
    Bad("ninety gigabytes in a few kilobytes of parquet", ON_PARQUET, "do not fit into memory", "correct it", {PARQUET: repeated(100_000, 900_000)}),
    Bad("ids of dates, twice", f"{ON_PARQUET} +data.row_id=day", "train has 39 duplicate ids", "ids must be unique", {PARQUET: arrow(day=pa.array([0] * 40, "date32"))}),
    Bad("ids of lists, twice", f"{ON_PARQUET} +data.row_id=key", "train has 39 duplicate ids", "ids must be unique", {PARQUET: arrow(key=[[1]] * 40)}),
    Bad("a label of ten thousand values and one", f"{ON_PARQUET} use.task=multilabel", "row 1, column 'intent': a cell of 10,001 values", "shorten it", {PARQUET: arrow(intent=[["a"] * 10_001] * 40)}),
    Bad("parquet in another folder of the same name", f"{HERE} data.train=data/raw/t.parquet/", "no file data/raw/t.parquet/", "put it there", {}),
]  # fmt: skip
