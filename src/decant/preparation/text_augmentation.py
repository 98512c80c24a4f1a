"""Changed copies of texts, as unlabelled rows that a teacher can answer: what a small student lacks is examples.

Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", 2019, arXiv:1903.12136, 3.2.
The paper's mask is a word left out here, and its word of the same part of speech any word of the texts, as often as it
stands there: both without a tool for the language.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from decant.core.errors import UserError
from decant.dataset.modality import Modality
from decant.preparation.cleaning import check_ids

LEFT_OUT, REPLACED, SHORTENED = 0.1, 0.1, 0.25
"""Probabilities: of a word to be left out, of a word to be replaced, of a copy to be a few words in a row alone."""
LONGEST = 5
"""Words of a shortened copy, at most."""


def add(tables: dict[str, pd.DataFrame], count: int, modality: Modality, seed: int) -> None:
    """Add `count` copies of each text of train and unlabelled to unlabelled, in place; equal copies count once.

    Copies that are an input of any split already are left out.

    Raises:
        UserError: inputs that are no single texts.
    """
    frames = {s: tables[s] for s in ("train", "unlabelled") if s in tables}
    if modality.name != "text" or "pair" in frames["train"]:
        raise UserError("prepare.copies is for texts, one to a row; set it to 0 for images and pairs")
    # ids are unique within a split alone
    named = [frame.assign(row_id=f"{split} " + frame["row_id"].astype(str)) for split, frame in frames.items()]
    rows = pd.concat([frame[["row_id", "input"]] for frame in named], ignore_index=True)
    generator = np.random.default_rng([seed, count])
    pool = [word for text in rows["input"] for word in text.split()]
    made = [
        (f"{row_id} copy {number}", changed(text.split(), pool, generator))
        for number in range(1, count + 1)
        for row_id, text in zip(rows["row_id"], rows["input"], strict=True)
    ]
    copies = pd.DataFrame(made, columns=["row_id", "input"])
    copies = copies.assign(key=modality.duplicate_keys(copies))
    known = set(pd.concat([frame["key"] for frame in tables.values()])) | {""}
    fresh = copies[~copies["key"].isin(known)].drop_duplicates("key")
    both = pd.concat([*list(frames.values())[1:], fresh], ignore_index=True)
    if both.empty:
        return
    tables["unlabelled"] = both
    if problems := check_ids("unlabelled, with its copies,", tables["unlabelled"]):
        raise UserError(problems)


def changed(words: Sequence[str], pool: Sequence[str], generator: np.random.Generator) -> str:
    """One copy of a text of `words`; `pool`: the words of all texts."""
    chance = generator.random(len(words))
    others = generator.integers(0, len(pool), len(words))
    kept = [
        pool[other] if lot < LEFT_OUT + REPLACED else word
        for word, lot, other in zip(words, chance, others, strict=True)
        if lot >= LEFT_OUT
    ]
    if generator.random() < SHORTENED and kept:
        length = int(generator.integers(1, LONGEST + 1))
        start = int(generator.integers(0, max(1, len(kept) - length + 1)))
        kept = kept[start : start + length]
    return " ".join(kept)
