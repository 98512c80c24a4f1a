"""The tables that `prepare` wrote, as the later stages read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from decant.core.errors import UserError
from decant.core.files import read_json
from decant.dataset import modality
from decant.dataset.modality import Modality

PREPARED = Path("data/prepare")
SOURCE = PREPARED / "source"
"""The tables of the source task, where pretrain-load makes the weights itself."""


@dataclass(frozen=True)
class Prepared:
    """One data set: `frames` has row_id, input, target by split."""

    frames: dict[str, pd.DataFrame]
    labels: list[str]
    """The names of the classes, in the order of their indices."""
    digests: dict[str, str]
    """Which data this is: sha256 of each split's table."""
    modality: Modality

    def ids(self, split: str) -> list[str]:
        """The row ids of a split, in the order of its table."""
        return list(self.frames[split]["row_id"])

    def examples(self) -> list[Any]:
        """Three inputs, to show what a served model takes."""
        return self.modality.sent(self.frames["validation"].head(3))


def read_prepared(folder: Path = PREPARED) -> Prepared:
    """What `prepare` wrote to `folder`."""
    card = read_json(folder / "card.json")
    return Prepared(
        frames={split: whole(folder / f"{split}.parquet") for split in sorted(card["splits"])},
        labels=list(card["labels"]),
        digests={split: str(facts["sha256"]) for split, facts in card["splits"].items()},
        modality=modality.of(card["size"]),
    )


def whole(file: Path) -> pd.DataFrame:
    """A table that `prepare` wrote.

    Raises:
        UserError: it is damaged.
    """
    with file.open("rb") as opened:  # pandas' own error does not name a file that is not there
        try:
            return pd.read_parquet(opened)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{file} is damaged ({error}); run: dvc repro") from error


def check_batch_sizes(rows: int, batch_sizes: Mapping[str, int], of: str = "") -> None:
    """Refuse a batch that the labelled `rows` of train (`of` which data) cannot fill; `batch_sizes` by stage.

    Raises:
        UserError: with every one.
    """
    if problems := [
        f"{stage}.batch_size is {size}, but train{of} has only {rows} rows (validation and test, where no file gives "
        f"them, are taken from it); lower it to {rows} or less in params.yaml, or add rows"
        for stage, size in batch_sizes.items()
        if size > rows
    ]:
        raise UserError(problems)
