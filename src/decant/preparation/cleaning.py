"""What `prepare` refuses or drops: ids that are not unique, empty inputs, missing labels, leaks between splits."""

from itertools import combinations

import pandas as pd

from decant.core.errors import UserError
from decant.data import Source
from decant.dataset.modality import Modality
from decant.task import Tables, Target

PRIORITY = ("test", "validation", "train", "unlabelled")
"""Which copy of a leaked input stays: the first of these."""


def clean(tables: Tables, source: Source, modality: Modality, target: Target | None) -> dict[str, int]:
    """Check all tables in place and drop what `source` allows to drop; return how many rows went.

    The tables get a column `key`, equal for inputs that count as the same.

    Raises:
        UserError: every problem found, each with counts and examples.
    """
    problems: list[str] = []
    dropped = {"empty": 0, "leaks": 0}
    for split, frame in tables.items():
        problems += check_ids(split, frame)
        if target is not None and split != "unlabelled":
            try:
                frame = frame.assign(target=target.read(frame["target"]))
            except UserError as error:
                problems += [f"{split}: {problem}" for problem in error.problems]
            problems += check_targets(split, frame)
        frame, reasons = modality.read(frame)
        frame = frame.assign(key=modality.duplicate_keys(frame))
        empty = frame["key"] == ""
        if source.empty == "drop":
            dropped["empty"] += int(empty.sum())
            frame = frame[~empty].reset_index(drop=True)
        elif reasons or (source.empty == "refuse" and empty.any()):
            problems.append(unreadable(split, frame["row_id"][empty].tolist(), reasons))
        tables[split] = frame
    problems = (
        problems or check_tables(tables, target) or (target.check_class_counts(tables["train"]) if target else [])
    )
    leaking = leaks(tables, modality)
    if leaking and source.leaks == "refuse":
        problems += [f"{n} inputs of {b} stand in {a} too, for example {text!r}; remove one copy, or set "
                     "leaks: drop in conf/data/" for (a, b), (n, text) in leaking.items()]  # fmt: skip
    if problems:
        raise UserError(problems)
    if leaking:
        dropped["leaks"] = drop_leaks(tables)
        if bare := check_tables(tables, None):
            raise UserError(bare)
    if "unlabelled" in tables and tables["unlabelled"].empty:
        del tables["unlabelled"]
    return dropped


def check_ids(split: str, frame: pd.DataFrame) -> list[str]:
    """Problems with `row_id`."""
    twice = frame["row_id"][frame["row_id"].duplicated()]
    if twice.empty:
        return []
    return [
        f"{split} has {len(twice)} duplicate ids (first: {twice.iloc[0]!r}); ids must be unique: "
        "correct the column, or leave row_id: out of the yaml to number the rows"
    ]


def check_targets(split: str, frame: pd.DataFrame) -> list[str]:
    """Problems with the labels of one split, each by itself."""
    null = frame["target"].isna()
    problems = []
    if null.any():
        problems.append(
            f"{split} has {null.sum()} rows without a label (first: {frame['row_id'][null].iloc[0]}); label "
            "them, or move them to a file named under unlabelled: in conf/data/"
        )
    if frame[~null].empty:
        problems.append(f"{split} has no labelled rows; expected some")
    return problems


def check_tables(tables: Tables, target: Target | None) -> list[str]:
    """Problems with all splits together, after rows were dropped or moved."""
    if bare := [s for s in tables if s != "unlabelled" and tables[s].empty]:
        return [f"{', '.join(bare)} has no rows left after dropping empty inputs and leaks; give it other rows"]
    return target.problems(tables) if target else []


def unreadable(split: str, ids: list[str], reasons: dict[str, str]) -> str:
    """The rows without an input, in words."""
    if not reasons:
        return (
            f"{split} has {len(ids)} rows with an empty input (first: {ids[0]}); "
            "fill or remove them, or set empty: drop (or keep) in conf/data/"
        )
    first = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:5])
    return (
        f"{split} has {len(reasons)} images that cannot be used ({first}{'; ...' if len(reasons) > 5 else ''}); "
        "repair or remove them, or set empty: drop in conf/data/"
    )


def leaks(tables: Tables, modality: Modality) -> dict[tuple[str, str], tuple[int, str]]:
    """Inputs that stand in two splits: {(split, other): (how many, an example)}."""
    found = {}
    for first, second in combinations([s for s in PRIORITY if s in tables], 2):
        shared = tables[second]["key"].isin(set(tables[first]["key"]) - {""})
        if shared.any():
            example = modality.display(tables[second][shared]).iloc[0]
            found[first, second] = int(shared.sum()), example
    return found


def drop_leaks(tables: Tables) -> int:
    """Remove, in place, every row whose input stands in a split of higher `PRIORITY`."""
    seen: set[str] = set()
    dropped = 0
    for split in (s for s in PRIORITY if s in tables):
        leaking = tables[split]["key"].isin(seen - {""})
        dropped += int(leaking.sum())
        tables[split] = tables[split][~leaking].reset_index(drop=True)
        seen |= set(tables[split]["key"])
    return dropped


def drop_held(tables: Tables, held: pd.DataFrame, source: Source) -> int:
    """Remove, in place, the inputs of `held`, rows of the target task, from the tables of the source task.

    Raises:
        UserError: there is such a row, and `source` does not allow to drop it.
    """
    keys = set(held["key"]) - {""}
    leaking = {split: frame["key"].isin(keys) for split, frame in tables.items()}
    count = sum(int(rows.sum()) for rows in leaking.values())
    if count and source.leaks == "refuse":
        raise UserError(
            f"{count} inputs of the source data stand in the test split of the target data, or lost their label there; "
            "pretraining must not see them: remove them, or set leaks: drop in the yaml of the source"
        )
    for split, rows in leaking.items():
        tables[split] = tables[split][~rows].reset_index(drop=True)
    return count
