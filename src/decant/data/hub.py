"""Any data set of the Hugging Face hub, at a pinned commit."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import ClassLabel, config, load_dataset

from decant.core.errors import UserError
from decant.data import Source, contract, numbered
from decant.data.images import inputs


@dataclass(kw_only=True)
class Hub(Source):
    """A data set id with its revision; no code of the data set is run."""

    id: str
    revision: str
    """The commit, 40 hexadecimal digits: a branch would change under the experiment."""
    name: str | None = None
    """Configuration of the data set, where it has several."""
    input: str | list[str]
    """Column with the input, or two for pairs of texts."""
    target: str
    row_id: str | None = None
    splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    """Our split: the name the data set gives it."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Expected `digest` of each of our splits; without it, what came is told and not used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        contract(self.input, self.target, self.row_id)
        if not re.fullmatch("[0-9a-f]{40}", self.revision):
            raise UserError(f"revision is {self.revision!r}, expected a commit of {self.id} (40 hexadecimal digits)")

    @property
    def pairs(self) -> bool:
        """See `Source.pairs`."""
        return not isinstance(self.input, str)

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`."""
        tables = {ours: self._read(ours, theirs) for ours, theirs in self.splits.items()}
        self._verify({split: digest(frame) for split, frame in tables.items()})
        return tables

    def _verify(self, came: dict[str, str]) -> None:
        right = f"put this into its yaml: sha256: {{{', '.join(f'{s}: {found}' for s, found in came.items())}}}"
        if other := [split for split, found in came.items() if self.sha256.get(split, found) != found]:
            raise UserError(
                f"{self.id}@{self.revision[:8]}: the rows of {', '.join(other)} have another sha256 than expected; "
                "they are not those the yaml was written for, or its input:, target: or row_id: changed; delete "
                f"{config.HF_DATASETS_CACHE} to get them again, or, if they are what you mean, {right}"
            )
        if came.keys() - self.sha256.keys():
            raise UserError(
                f"{self.id}@{self.revision[:8]} is a download without a digest, so nobody would notice other rows; if "
                f"what is there now is what you mean, {right}"
            )

    def _read(self, ours: str, theirs: str) -> pd.DataFrame:
        try:
            rows = load_dataset(self.id, self.name, revision=self.revision, split=theirs)
        except Exception as error:
            # the hub's client raises a dozen unrelated classes for "no network" and "no such set"
            raise UserError(
                f"{self.id}@{self.revision[:8]} ({theirs}) cannot be loaded: {type(error).__name__}: {error}; "
                "check the id, the split and the network, or download it once and use a table: source"
            ) from error
        names = contract(self.input, self.target if ours != "unlabelled" else None, self.row_id)
        if lacking := [c for c in names if c not in rows.column_names]:
            raise UserError(f"{self.id} has no column {lacking}; it has: {rows.column_names}")
        frame = rows.to_pandas()[list(names)]
        feature = rows.features.get(self.target)
        if isinstance(feature, ClassLabel) and self.target in frame:
            # an unlabelled row of a ClassLabel column is -1
            frame[self.target] = [feature.int2str(i) if i >= 0 else None for i in frame[self.target]]
        elif isinstance(each := getattr(feature, "feature", None), ClassLabel) and self.target in frame:
            frame[self.target] = [[each.int2str(int(i)) for i in row] for row in frame[self.target]]
        if isinstance(self.input, str):
            frame[self.input] = inputs(frame[self.input], self.size, self.id, local)
        return numbered(frame.rename(columns=names), ours, "row_id" if self.row_id else None)


def digest(frame: pd.DataFrame) -> str:
    """sha256 of the rows: JSON, a line each; bytes of images by their own sha256."""
    total = hashlib.sha256()
    # what is missing is NaN or None, as pandas likes
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        total.update(f"{json.dumps(row, default=_plain, sort_keys=True)}\n".encode())
    return total.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return value.tolist() if isinstance(value, np.ndarray) else str(value)


def local(path: str) -> bytes:
    """The bytes of a file that came with the data set; a URL is not followed."""
    return Path(path).read_bytes()
