"""rows.parquet: the sufficient statistics of each test row for each model, enough to compare experiments by."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FILE = "rows.parquet"


@dataclass(frozen=True)
class Metadata:
    """Which experiment the rows are of."""

    seed: int
    task: str
    """A name in conf/task/."""
    test: str
    """sha256 of the test table."""


@dataclass(frozen=True)
class RowScores:
    """The contents of rows.parquet."""

    statistics: dict[str, np.ndarray]
    """By role: `Scoring.sufficient_statistics` (N, K) of the test rows."""
    metadata: Metadata


def write(
    file: Path, row_ids: "Sequence[str] | pd.Series[str]", statistics: Mapping[str, np.ndarray], metadata: Metadata
) -> None:
    """Write the statistics (N, K) of each model."""
    columns = {role: list(values.astype(float)) for role, values in statistics.items()}
    table = pa.Table.from_pandas(pd.DataFrame({"row_id": row_ids, **columns}), preserve_index=False)
    pq.write_table(table.replace_schema_metadata({"decant": json.dumps(asdict(metadata))}), file)


def read(file: BinaryIO) -> RowScores:
    """Read what `write` wrote."""
    table = pq.read_table(file)
    frame = table.to_pandas()
    metadata = Metadata(**json.loads(table.schema.metadata[b"decant"]))
    return RowScores({role: np.stack(frame[role].to_list()) for role in frame.columns[1:]}, metadata)
