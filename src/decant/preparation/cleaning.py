"""What `prepare` refuses or drops: duplicate ids, empty inputs, missing labels, leaks between splits."""

from itertools import combinations

import pandas as pd

from decant.core.errors import UserError
from decant.data import Source
from decant.dataset.modality import Modality
from decant.preparation.stored_inputs import stored_inputs
from decant.task import Tables, Target

PRIORITY = ("test", "validation", "train", "unlabelled")
"""A leaked input stays in the first of these splits that has it."""


def clean(tables: Tables, source: Source, modality: Modality, target: Target | None) -> dict[str, int]:
    """Check all tables and drop what `source` allows to drop, in place; return how many rows were dropped and why.

    Targets are parsed, unless `target` is None. The tables get a column `key`, equal for inputs that count as the same.

    Raises:
        UserError: every problem found, each with counts and examples.
    """
    problems: list[str] = []
    dropped = {"empty": 0, "leaks": 0}
    for split, frame in tables.items():
        problems += check_ids(split, frame)
        if target is not None and split != "unlabelled":
            frame = read_targets(split, frame, target, problems)
        tables[split] = read_inputs(split, frame, source, modality, problems)
        dropped["empty"] += len(frame) - len(tables[split])
    problems = problems or check_tables(tables, target)
    if target is not None:
        problems = problems or target.check_class_counts(tables["train"])
    leaks = find_leaks(tables, modality)
    if leaks and source.leaks == "refuse":
        problems += [f"{count} inputs of {other} are also in {split}, for example {example!r}; remove one copy, or set "
                     "leaks: drop in conf/data/" for (split, other), (count, example) in leaks.items()]  # fmt: skip
    if problems:
        raise UserError(problems)
    if leaks:
        dropped["leaks"] = drop_leaks(tables)
        if empty_tables := check_tables(tables, None):
            raise UserError(empty_tables)
    if "unlabelled" in tables and tables["unlabelled"].empty:
        del tables["unlabelled"]
    return dropped


def read_targets(split: str, frame: pd.DataFrame, target: Target, problems: list[str]) -> pd.DataFrame:
    """`frame` with parsed targets; what is wrong with them is added to `problems`."""
    try:
        frame = frame.assign(target=target.read(frame["target"]))
    except UserError as error:
        problems += [f"{split}: {problem}" for problem in error.problems]
    problems += check_targets(split, frame)
    return frame


def read_inputs(
    split: str, frame: pd.DataFrame, source: Source, modality: Modality, problems: list[str]
) -> pd.DataFrame:
    """`frame` with inputs as they are stored, and their keys; empty ones are dropped, or added to `problems`."""
    frame, reasons = stored_inputs(frame, modality)
    frame = frame.assign(key=modality.duplicate_keys(frame))
    empty = frame["key"] == ""
    if source.empty == "drop":
        return frame[~empty].reset_index(drop=True)
    if reasons or (source.empty == "refuse" and empty.any()):
        problems.append(unreadable(split, frame["row_id"][empty].tolist(), reasons))
    return frame


def check_ids(split: str, frame: pd.DataFrame) -> list[str]:
    """Problems with `row_id`."""
    duplicates = frame["row_id"][frame["row_id"].duplicated()]
    if duplicates.empty:
        return []
    return [
        f"{split} has {len(duplicates)} duplicate ids (first: {duplicates.iloc[0]!r}); ids must be unique: "
        "correct the column, or leave row_id: out of the yaml to number the rows"
    ]


def check_targets(split: str, frame: pd.DataFrame) -> list[str]:
    """Missing targets of one split."""
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
    if empty := [split for split in tables if split != "unlabelled" and tables[split].empty]:
        return [f"{', '.join(empty)} has no rows left after dropping empty inputs and leaks; give it other rows"]
    return target.problems(tables) if target else []


def unreadable(split: str, ids: list[str], reasons: dict[str, str]) -> str:
    """The message about rows without an input: `ids` of texts, or why images cannot be read, {row_id: reason}."""
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


def find_leaks(tables: Tables, modality: Modality) -> dict[tuple[str, str], tuple[int, str]]:
    """Inputs that are in two splits: {(split, other split): (how many, an example)}."""
    leaks = {}
    for first, second in combinations([split for split in PRIORITY if split in tables], 2):
        shared = tables[second]["key"].isin(set(tables[first]["key"]) - {""})
        if shared.any():
            leaks[first, second] = int(shared.sum()), modality.display(tables[second][shared]).iloc[0]
    return leaks


def drop_leaks(tables: Tables) -> int:
    """Remove, in place, every row whose input is in a split of higher `PRIORITY`; return how many."""
    seen: set[str] = set()
    dropped = 0
    for split in (split for split in PRIORITY if split in tables):
        leaked = tables[split]["key"].isin(seen - {""})
        dropped += int(leaked.sum())
        tables[split] = tables[split][~leaked].reset_index(drop=True)
        seen |= set(tables[split]["key"])
    return dropped


def drop_withheld(tables: Tables, withheld: pd.DataFrame, source: Source) -> int:
    """Remove, in place, rows of the source task whose input is among `withheld` rows of the target task.

    Raises:
        UserError: there are some, and `source` does not allow to drop them.
    """
    keys = set(withheld["key"]) - {""}
    leaked = {split: frame["key"].isin(keys) for split, frame in tables.items()}
    count = sum(int(rows.sum()) for rows in leaked.values())
    if count and source.leaks == "refuse":
        raise UserError(
            f"{count} inputs of the source data are also in the test split of the target data, or lost their label "
            "there; pretraining must not see them: remove them, or set leaks: drop in the yaml of the source"
        )
    for split, rows in leaked.items():
        tables[split] = tables[split][~rows].reset_index(drop=True)
    return count
