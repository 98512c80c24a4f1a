"""The digest of the rows of a table, which does not depend on how they are stored."""

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd


def sha256_of_rows(frame: pd.DataFrame) -> str:
    """sha256 of the rows as JSON lines, with the bytes of images replaced by their own sha256."""
    total = hashlib.sha256()
    # missing values are NaN or None, depending on the column's type
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        total.update(f"{json.dumps(row, default=_to_json, sort_keys=True)}\n".encode())
    return total.hexdigest()


def _to_json(value: object) -> Any:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
