"""What the folders of an image mean: its split and its class."""

from collections.abc import Iterable

import pandas as pd

from decant.data import SPLITS

SPLIT_OF = {s: s for s in SPLITS} | {"val": "validation", "valid": "validation", "unlabeled": "unlabelled"}
"""The split that a folder of this name holds."""
CLUTTER = ("__macosx", "thumbs.db", "desktop.ini")
"""Files and folders that operating systems leave behind; ignored, like hidden files."""


def layout(names: Iterable[str]) -> pd.DataFrame:
    """A table, sorted by name, of `row_id` (the name), `split` ("" if unknown) and `target` (None if unknown)."""
    parts_of = {name: name.split("/") for name in sorted(names)}
    by_split = any(map(_is_in_split_folder, parts_of.values()))
    rows = []
    for name, (*folders, _) in parts_of.items():
        split = "train"
        if by_split:
            split, folders = SPLIT_OF.get("".join(folders[:1]).lower(), ""), folders[1:]
        rows.append((name, split, folders[0] if folders and split != "unlabelled" else None))
    return pd.DataFrame(rows, columns=["row_id", "split", "target"], dtype=object)


def top_folder(names: list[str]) -> str:
    """The single folder around all classes or splits, with its slash; "" if there is none."""
    tops = {name.partition("/")[0] for name in names}
    nested = any(name.count("/") > 1 for name in names)
    return f"{tops.pop()}/" if nested and len(tops) == 1 and not {t.lower() for t in tops} & set(SPLIT_OF) else ""


def is_hidden(name: str) -> bool:
    """Whether a file or one of its folders is hidden or clutter."""
    return any(part.startswith(".") or part.lower() in CLUTTER for part in name.split("/"))


def _is_in_split_folder(parts: list[str]) -> bool:
    split = SPLIT_OF.get(parts[0].lower())
    # train/1.jpg belongs to a class "train": there are data sets about railways
    return split is not None and len(parts) > (1 if split == "unlabelled" else 2)
