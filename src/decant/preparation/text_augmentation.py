"""Augmented copies of texts, as unlabelled rows for the teacher to label: a small student lacks examples most of all.

Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", 2019, arXiv:1903.12136, 3.2.
Two changes, so that no tool for the language is needed: a masked word is deleted, and a word is replaced by any word of
the texts, in proportion to its frequency, not by one of the same part of speech.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from decant.core.errors import UserError
from decant.dataset.modality import Modality
from decant.preparation.splits import add_unlabelled
from decant.task import Tables

DELETE, REPLACE = 0.1, 0.1
"""Probabilities for each word."""
SHORTEN = 0.25
"""Probability that a copy is cut down to a few consecutive words."""
MAX_SHORTENED = 5
"""Words of a shortened copy, at most."""


def add_copies(tables: Tables, count: int, modality: Modality, seed: int) -> None:
    """Add `count` augmented copies of each text of train and unlabelled to unlabelled, in place.

    Equal copies count once; copies that are already an input of any split are left out.

    Raises:
        UserError: inputs that are no single texts.
    """
    frames = {split: tables[split] for split in ("train", "unlabelled") if split in tables}
    if modality.name != "text" or "pair" in frames["train"]:
        raise UserError("prepare.augmented_copies is for texts, one to a row; set it to 0 for images and pairs")
    # an id is unique only within its split
    named = [frame.assign(row_id=f"{split} " + frame["row_id"].astype(str)) for split, frame in frames.items()]
    copies = augment(pd.concat([frame[["row_id", "input"]] for frame in named], ignore_index=True), count, seed)
    copies = copies.assign(key=modality.duplicate_keys(copies))
    existing = set(pd.concat([frame["key"] for frame in tables.values()])) | {""}
    add_unlabelled(tables, copies[~copies["key"].isin(existing)].drop_duplicates("key"), "with its copies")


def augment(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """`count` copies of each row, with the columns row_id and input."""
    generator = np.random.default_rng([seed, count])
    vocabulary = [word for text in rows["input"] for word in text.split()]
    copies = [
        (f"{row_id} copy {number}", perturb(text.split(), vocabulary, generator))
        for number in range(1, count + 1)
        for row_id, text in zip(rows["row_id"], rows["input"], strict=True)
    ]
    return pd.DataFrame(copies, columns=["row_id", "input"])


def perturb(words: Sequence[str], vocabulary: Sequence[str], generator: np.random.Generator) -> str:
    """One copy of a text of `words`; `vocabulary`: the words of all texts, with repetitions."""
    chance = generator.random(len(words))
    replacements = generator.integers(0, len(vocabulary), len(words))
    copy = [
        vocabulary[replacement] if lot < DELETE + REPLACE else word
        for word, lot, replacement in zip(words, chance, replacements, strict=True)
        if lot >= DELETE
    ]
    if generator.random() < SHORTEN and copy:
        length = int(generator.integers(1, MAX_SHORTENED + 1))
        start = int(generator.integers(0, max(1, len(copy) - length + 1)))
        copy = copy[start : start + length]
    return " ".join(copy)
