"""What each row of test adds to the headline figure of each model: enough to compare experiments by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from decant.dataset.prepared import Prepared

FILE = "rows.parquet"


@dataclass(frozen=True)
class Rows:
    """Of one experiment."""

    sums: dict[str, np.ndarray]
    """By model: `Scoring.sufficient_statistics` (N, K) of the rows of test."""
    facts: dict[str, Any]
    """`seed`, `task` (a name in conf/task/), and `test`, the sha256 of the table of test."""


def write(
    file: Path, test: pd.DataFrame, sums: Mapping[str, np.ndarray], seed: int, task: str, prepared: Prepared
) -> None:
    """Write the sums (N, K) of each model, with what they are of."""
    frame = pd.DataFrame({"row_id": test["row_id"], **{role: list(v.astype(float)) for role, v in sums.items()}})
    facts = {"seed": seed, "task": task, "test": prepared.digests["test"]}
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({"decant": json.dumps(facts)}), file)


def read(file: BinaryIO) -> Rows:
    """What `write` wrote."""
    table = pq.read_table(file)
    frame = table.to_pandas()
    facts = json.loads(table.schema.metadata[b"decant"])
    return Rows({role: np.stack(frame[role].to_list()) for role in frame.columns[1:]}, facts)
