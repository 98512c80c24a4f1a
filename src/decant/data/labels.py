"""Labels in a table: one per row or a list of them; as text, or as numbers that stand for names."""

import numpy as np
import pandas as pd

from decant.core.errors import UserError


def name_labels(path: str, target: "pd.Series[str]", names: list[str]) -> "pd.Series[str]":
    """Labels 0, 1, ... replaced by their `names`; a missing label stays missing.

    Raises:
        UserError: a label is no index into `names`.
    """
    name_of = {str(i): name for i, name in enumerate(names)}
    if unknown := sorted(set(target.dropna()) - set(name_of)):
        raise UserError(
            f"{path} has the labels {unknown[:3]}, expected 0 to {len(names) - 1}, one for each of names: "
            f"{', '.join(names)}; correct names: or the column, or remove names: to take the labels as they are"
        )
    return target.map(name_of)


def label_lists(path: str, target: "pd.Series", names: list[str] | None) -> "pd.Series":
    """Lists of labels as text, replaced by their `names` if there are any; a missing list stays missing.

    Raises:
        UserError: a label is no index into `names`.
    """
    rows = [list(map(str, cell)) if isinstance(cell, list | np.ndarray) else None for cell in target]
    labels = pd.Series([label for row in rows for label in row or ()], dtype="string")
    text_of = dict(zip(labels, name_labels(path, labels, names) if names else labels, strict=True))
    return pd.Series([None if r is None else [text_of[x] for x in r] for r in rows], target.index, dtype=object)


def keep_labels(frame: pd.DataFrame, classes: set[str]) -> pd.DataFrame:
    """All rows of `frame`, with only the labels in `classes` in their lists."""
    lists = [None if row is None else [x for x in row if x in classes] for row in frame["target"]]
    return frame.assign(target=pd.Series(lists, frame.index, dtype=object))
