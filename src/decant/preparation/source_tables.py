"""The clean tables of a data source."""

from dataclasses import dataclass

import pandas as pd

from decant.core.errors import UserError
from decant.data import Source
from decant.dataset.modality import Modality
from decant.dataset.modality.by_size import modality_of
from decant.preparation.cleaning import clean
from decant.task import Target


@dataclass
class SourceTables:
    """Clean tables of one data source, with the columns row_id, input, target and key (equal: the same input).

    Where an input is two texts, `pair` is the second.
    """

    source: Source
    modality: Modality
    tables: dict[str, pd.DataFrame]
    dropped: dict[str, int]
    """Rows that were dropped, by reason."""


def load_tables(source: Source, target: Target | None) -> SourceTables:
    """The clean tables of `source`; without `target` the targets are not checked.

    Raises:
        UserError: every problem with them.
    """
    source_modality = modality_of(source.size)
    tables = source.load()
    if target is None:
        tables = {split: frame.drop(columns="target", errors="ignore") for split, frame in tables.items()}
    elif "train" not in tables:
        raise UserError("there is no train split; name its file under train: in conf/data/")
    dropped = clean(tables, source, source_modality, target)
    return SourceTables(source, source_modality, tables, dropped)
