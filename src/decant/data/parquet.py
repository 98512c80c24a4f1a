"""Parquet files by their values: what they claim of pandas, dictionaries or extensions does not matter."""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from decant.core.reading import memory_limit
from decant.data.limits import MAX_CELL, MAX_COLUMNS, MAX_IMAGE_BYTES

VALUE_BYTES = 8
"""Memory of a number, or of the place of a text."""
UTF8_BYTES = 4
"""Of one character, at most."""


def read_parquet(file: io.BytesIO) -> pd.DataFrame:
    """The columns of a Parquet file as text, bytes, numbers, lists and mappings.

    Texts are read as dictionaries first: a few kilobytes can repeat one value until it fills the memory.

    Raises:
        ValueError: too many columns, values that do not fit into memory or are longer than a cell may be, values that
            Python does not have, by their column.
        Exception: whatever Arrow raises for a damaged file.
    """
    opened = pq.ParquetFile(file)
    _require_fitting(opened.metadata)
    texts = [field.name for field in opened.schema_arrow if is_text(field.type)]
    file.seek(0)
    table = pq.ParquetFile(file, read_dictionary=texts).read()
    sizes = [expanded_size(name, column) for name, column in zip(table.column_names, table.columns, strict=True)]
    if sum(sizes) > memory_limit():
        raise ValueError("its values do not fit into memory once they are unpacked")
    columns = [_to_pandas(name, column) for name, column in zip(table.column_names, table.columns, strict=True)]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    names = list(table.column_names)
    frame.columns = pd.Index(names, dtype=object)
    frame.attrs["duplicate_names"] = sorted({name for name in names if names.count(name) > 1})
    return frame


def _to_pandas(name: str, column: pa.ChunkedArray) -> "pd.Series":
    try:
        values = column.cast(plain_type(column.type))
        values.validate(full=True)  # Arrow reads text that is not UTF-8, and fails only where it is used
        return values.to_pandas(integer_object_nulls=True)  # whole numbers with gaps would become 1.0
    except Exception as error:  # of Arrow, of pandas, and of Python for dates that it does not have
        raise ValueError(f"the column {name!r}: {error}") from error


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts or bytes."""
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the same values without dictionaries and extensions."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([kind.field(i).with_type(plain_type(kind.field(i).type)) for i in range(kind.num_fields)])
    return kind


def expanded_size(name: str, column: pa.ChunkedArray) -> int:
    """Bytes of a column without its dictionaries.

    Raises:
        ValueError: a text or bytes are longer than a cell may be.
    """
    if not (pa.types.is_dictionary(column.type) and is_text(column.type.value_type)):
        return int(column.nbytes)
    limit = UTF8_BYTES * MAX_CELL if pa.types.is_string(column.type.value_type) else MAX_IMAGE_BYTES
    total = 0
    for chunk in column.chunks:
        sizes = pc.binary_length(chunk.dictionary)
        longest = pc.max(sizes).as_py() or 0
        if longest > limit:
            raise ValueError(f"a cell of the column {name!r} has {longest:,} bytes, expected at most {limit:,}")
        total += pc.sum(pc.take(sizes, chunk.indices)).as_py() or 0
    return total


def _require_fitting(metadata: pq.FileMetaData) -> None:
    if metadata.num_columns > MAX_COLUMNS:
        raise ValueError(f"it has {metadata.num_columns:,} columns, expected at most {MAX_COLUMNS:,}")
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    size = max(size, metadata.num_rows * metadata.num_columns * VALUE_BYTES)
    if size > (limit := memory_limit()):
        raise ValueError(f"it unpacks to {size:,} bytes, but the free memory is for {limit:,}")
