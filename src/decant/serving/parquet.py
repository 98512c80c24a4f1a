"""Reads Parquet files in bounded memory, whatever their pages claim to hold; not shipped with a model."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decant.core.errors import UserError
from decant.serving.limits import MAX_IMAGE_BYTES, MAX_ROW_BYTES, check_columns, open_regular
from decant.serving.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1024
BATCH_BYTES = 16 * 2**20
"""Of rows that become Python objects at once; a larger batch is divided."""
ROW_BYTES = MAX_IMAGE_BYTES + MAX_ROW_BYTES
"""Of the values of a row."""
READ_BYTES = 2**20
"""Of the file at a time, instead of all bytes that a column has in a row group."""
MEMORY = 2 * 2**30
"""Bytes of address space that decoding a batch may take: a page of some bytes can hold gigabytes.

Where pyarrow was imported before, its default allocator may reserve one of them.
"""


def read_parquet(name: str) -> Iterator[Row]:
    """The rows of a Parquet file; they count as lines, from 1.

    Raises:
        UserError: a damaged file, two columns of one name, a value that Python cannot hold, too much memory.
    """
    # the default allocator, mimalloc, reserves 1 GiB at once, and holds tens of MB more, growing with the rows
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read at the import
    import pyarrow.parquet as pq  # slow to import, and needed for Parquet only

    with open_regular(name) as file:
        with decoding(name):
            table = pq.ParquetFile(file, buffer_size=READ_BYTES)
        check_columns(name, table.schema_arrow.names)
        size = Path(name).stat().st_size // max(table.metadata.num_rows, 1)
        batches = table.iter_batches(BATCH_ROWS, use_threads=False)
        line = 1
        while True:
            with decoding(f"{name}, line {line} or one of the {BATCH_ROWS:,} after it"):
                if (batch := next(batches, None)) is None:
                    return
                batch = plain(batch)
            for values in batch_rows(batch, name, line):
                yield Row(values, name, line, size)
                line += 1


def batch_rows(batch: "pa.RecordBatch", name: str, line: int) -> Iterator[dict[str, Any]]:
    """The rows of a batch that starts at a line; in halves if it is large, or if a row cannot be converted."""
    if batch.num_rows == 1 and batch.nbytes > ROW_BYTES:
        raise UserError(f"{name}, line {line}: a row of {batch.nbytes:,} bytes, expected at most {ROW_BYTES:,}")
    values = None
    try:
        if batch.num_rows == 1 or batch.nbytes <= BATCH_BYTES:
            with decoding(f"{name}, line {line}"):
                values = batch.to_pylist()
    except UserError:
        if batch.num_rows == 1:
            raise
    if values is not None:
        yield from values
        return
    half = batch.num_rows // 2
    yield from batch_rows(batch.slice(0, half), name, line)
    yield from batch_rows(batch.slice(half), name, line + half)


def plain(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    """A batch without dictionary columns: their size is not that of their values."""
    import pyarrow as pa

    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


@contextmanager
def decoding(location: str) -> Iterator[None]:
    """Limits the memory of a part of the file, and names its location in what the library raises."""
    try:
        with memory_limit(MEMORY):
            yield
    except MemoryError as error:
        reason = f"its rows take more than {MEMORY // 2**20:,} MB"
        raise UserError(f"{location} cannot be read as Parquet: {reason}; write it with less in a row") from error
    except Exception as error:  # of damaged pages and of values out of range the library raises a dozen classes
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{location} cannot be read as Parquet: {reason}; get it again, or write it again") from error


@contextmanager
def memory_limit(growth: int) -> Iterator[None]:
    """Allocations fail once the process has grown by so many bytes (Linux only)."""
    if sys.platform != "linux":
        yield
        return
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [size + growth, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
