"""Tables as prepare handles them."""

import pandas as pd

from decant.data import with_row_ids
from decant.data.table import Table
from decant.dataset.modality.text import Text


def loaded(frame: pd.DataFrame, **others: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables as a source gives them."""
    both = {"train": frame, **others}
    return {s: with_row_ids(f.rename(columns={"text": "input", "intent": "target"}), s) for s, f in both.items()}


def keyed(frame: pd.DataFrame, **others: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables as they are once clean."""
    return {s: f.assign(key=Text().duplicate_keys(f)) for s, f in loaded(frame, **others).items()}


def table_source(**options: str) -> Table:
    """A source that allows what `options` say."""
    return Table(train="x", input="text", target="intent", **options)
