"""The tables that `prepare` wrote, as the later stages read them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from decant.core.errors import UserError
from decant.core.files import read_json
from decant.core.hashing import sha256
from decant.dataset.modality import Modality
from decant.dataset.modality.by_size import modality_of

PREPARED = Path("data/prepare")
SOURCE = PREPARED / "source"
"""The tables of the source task, for pretrain-load when it trains the teacher's starting weights itself."""


@dataclass(frozen=True)
class Prepared:
    """One prepared data set. A stage reads it once and passes it on; nothing changes it."""

    frames: dict[str, pd.DataFrame]
    """{split: table}, with the columns row_id, input, target and, for pairs of texts, pair."""
    labels: list[str]
    """Names of the classes, in the order of their indices."""
    digests: dict[str, str]
    """{split: sha256 of its table}: which data this is."""
    modality: Modality

    def ids(self, split: str) -> list[str]:
        """The row ids of a split, in the order of its table."""
        return list(self.frames[split]["row_id"])

    def examples(self) -> list[Any]:
        """Three inputs, as examples of what a served model takes."""
        return self.modality.request_inputs(self.frames["validation"].head(3))


def read_prepared(folder: Path = PREPARED) -> Prepared:
    """The data set that `prepare` wrote to `folder`.

    Raises:
        UserError: a file is damaged.
        FileNotFoundError: a file is missing.
    """
    if problems := list(damaged_tables(folder)):
        raise UserError(problems)
    card = read_json(folder / "card.json")
    return Prepared(
        frames={split: _read_table(folder / f"{split}.parquet") for split in sorted(card["splits"])},
        labels=list(card["labels"]),
        digests={split: str(facts["sha256"]) for split, facts in card["splits"].items()},
        modality=modality_of(card["size"]),
    )


def damaged_tables(folder: Path = PREPARED) -> Iterator[str]:
    """The tables in `folder` whose bytes are not those of which card.json holds the sha256.

    Raises:
        UserError: card.json is damaged.
        FileNotFoundError: a file is missing.
    """
    for split, facts in sorted(read_json(folder / "card.json")["splits"].items()):
        file = folder / f"{split}.parquet"
        if (actual := sha256(file)) != facts["sha256"]:
            yield (
                f"{file} is damaged: its sha256 is {actual}, expected {facts['sha256']} (card.json); run: "
                "decant doctor --heal, or make it again: dvc repro"
            )


def _read_table(file: Path) -> pd.DataFrame:
    with file.open("rb") as opened:  # the error of pandas does not name a missing file
        try:
            return pd.read_parquet(opened)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{file} is damaged ({error}); run: dvc repro") from error


def check_batch_sizes(rows: int, batch_sizes: Mapping[str, int], of: str = "") -> None:
    """Refuse batches that are larger than the number of labelled `rows` of train.

    `batch_sizes`: {section of params.yaml: batch size}, of this stage and of later ones. `of`: which data, for the
    message.

    Raises:
        UserError: names every batch size that is too large.
    """
    if problems := [
        f"{section}.batch_size is {size}, but train{of} has only {rows} rows (validation and test, "
        f"where no file gives them, are taken from it); lower it to {rows} or less in params.yaml, or add rows"
        for section, size in batch_sizes.items()
        if size > rows
    ]:
        raise UserError(problems)
