"""Labels as a table spells them: one a row, or a list of them; as text, or as numbers that stand for names."""

import numpy as np
import pandas as pd

from decant.core.errors import UserError


def named(path: str, target: "pd.Series[str]", names: list[str]) -> "pd.Series[str]":
    """Labels 0, 1, ... replaced by their `names`; an empty label stays empty.

    Raises:
        UserError: labels that are no index into `names`.
    """
    by_label = {str(i): name for i, name in enumerate(names)}
    if unknown := sorted(set(target.dropna()) - set(by_label)):
        raise UserError(
            f"{path} has the labels {unknown[:3]}, expected 0 to {len(names) - 1}, one for each of names: "
            f"{', '.join(names)}; correct names: or the column, or remove names: to take the labels as they are"
        )
    return target.map(by_label)


def listed(path: str, target: "pd.Series", names: list[str] | None) -> "pd.Series":
    """Lists of labels as text, and by their `names` if there are any; a missing list stays missing.

    Raises:
        UserError: labels that are no index into `names`.
    """
    rows = [list(map(str, cell)) if isinstance(cell, list | np.ndarray) else None for cell in target]
    flat = pd.Series([label for row in rows for label in row or ()], dtype="string")
    spelled = dict(zip(flat, named(path, flat, names) if names else flat, strict=True))
    return pd.Series([None if r is None else [spelled[x] for x in r] for r in rows], target.index, dtype=object)


def only(frame: pd.DataFrame, classes: set[str]) -> pd.DataFrame:
    """`frame` with all rows, and of their lists of labels the `classes` only."""
    kept = [None if row is None else [x for x in row if x in classes] for row in frame["target"]]
    return frame.assign(target=pd.Series(kept, frame.index, dtype=object))
