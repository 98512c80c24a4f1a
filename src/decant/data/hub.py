"""Any data set of the Hugging Face hub, at a pinned commit."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import ClassLabel, config, load_dataset

from decant.core.errors import UserError
from decant.core.reading import parsing, read_file
from decant.data import Source, column_names, with_row_ids
from decant.data.columns import select_columns
from decant.data.images import input_column
from decant.data.limits import MAX_IMAGE_BYTES
from decant.data.row_digest import sha256_of_rows


@dataclass(kw_only=True)
class Hub(Source):
    """A data set by its id and revision; code of the data set is never run."""

    id: str
    revision: str
    """The commit, 40 hexadecimal digits: a branch could change during the experiment."""
    name: str | None = None
    """Configuration of the data set, if it has several."""
    input: str | list[str]
    """Column with the input, or two for pairs of texts."""
    target: str
    row_id: str | None = None
    splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    """{split: its name in the data set}."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Expected `sha256_of_rows` of each split; without it, the digest is reported and the data are not used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        column_names(self.input, self.target, self.row_id)
        if not re.fullmatch("[0-9a-f]{40}", self.revision):
            raise UserError(f"revision is {self.revision!r}, expected a commit of {self.id} (40 hexadecimal digits)")

    @property
    def pairs(self) -> bool:
        """See `Source.pairs`."""
        return not isinstance(self.input, str)

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`."""
        tables = {split: self._read(split, name) for split, name in self.splits.items()}
        self._verify({split: sha256_of_rows(frame) for split, frame in tables.items()})
        return tables

    def _verify(self, digests: dict[str, str]) -> None:
        advice = f"put this into its yaml: sha256: {{{', '.join(f'{s}: {d}' for s, d in digests.items())}}}"
        if wrong := [split for split, digest in digests.items() if self.sha256.get(split, digest) != digest]:
            raise UserError(
                f"{self.id}@{self.revision[:8]}: the rows of {', '.join(wrong)} have another sha256 than expected; "
                "they are not those the yaml was written for, or its input:, target: or row_id: changed; delete "
                f"{config.HF_DATASETS_CACHE} to get them again, or, if they are right, {advice}"
            )
        if digests.keys() - self.sha256.keys():
            raise UserError(
                f"{self.id}@{self.revision[:8]} is a download without a digest, so changed rows would go unnoticed; if "
                f"the present ones are right, {advice}"
            )

    def _read(self, split: str, name: str) -> pd.DataFrame:
        try:
            rows = load_dataset(self.id, self.name, revision=self.revision, split=name)
        except Exception as error:
            # the hub's client raises a dozen unrelated classes for "no network" and "no such set"
            raise UserError(
                f"{self.id}@{self.revision[:8]} ({name}) cannot be loaded: {type(error).__name__}: {error}; "
                "check the id, the split and the network, or download it once and use a table: source"
            ) from error
        names = column_names(self.input, self.target if split != "unlabelled" else None, self.row_id)
        if missing := [c for c in names if c not in rows.column_names]:
            raise UserError(f"{self.id} has no column {missing}; it has: {rows.column_names}")
        with parsing(
            f"{self.id} ({name}) has values that cannot be read", "choose other columns with input: and target:"
        ):
            frame = rows.select_columns(list(names)).to_pandas()
        frame = select_columns(self.id, frame, names)
        if self.target in frame:
            frame[self.target] = _class_names(frame[self.target], rows.features.get(self.target))
        if isinstance(self.input, str):
            frame[self.input] = input_column(frame[self.input], self.size, self.id, _read_file)
        return with_row_ids(frame.rename(columns=names), split, "row_id" if self.row_id else None)


def _class_names(target: "pd.Series", feature: object) -> "pd.Series | list[Any]":
    """Targets of type ClassLabel, or lists of it, as the names of the classes; others unchanged."""
    if isinstance(feature, ClassLabel):
        return [feature.int2str(i) if i >= 0 else None for i in target]  # -1 means unlabelled
    item = getattr(feature, "feature", None)
    if isinstance(item, ClassLabel):
        return [[item.int2str(int(i)) for i in row] for row in target]
    return target


def _read_file(path: str) -> bytes:
    """The bytes of a file that came with the data set; a URL is not followed."""
    return read_file(Path(path), MAX_IMAGE_BYTES)
