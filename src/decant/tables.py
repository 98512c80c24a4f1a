"""The tables that `prepare` wrote, as the later stages read them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from decant import modality, run
from decant.modality import Modality

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


def read(folder: Path = PREPARED) -> Prepared:
    """What `prepare` wrote to `folder`."""
    card = run.read_json(folder / "card.json")
    return Prepared(
        frames={split: pd.read_parquet(folder / f"{split}.parquet") for split in sorted(card["splits"])},
        labels=list(card["labels"]),
        digests={split: str(facts["sha256"]) for split, facts in card["splits"].items()},
        modality=modality.of(card["size"]),
    )
