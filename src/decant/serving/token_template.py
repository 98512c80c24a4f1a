"""Truncates token ids, and puts a tokenizer's special tokens around them, exactly as the tokenizer does.

The tokenizers library keeps what it cuts off: of a pair of texts, every combination of their parts. A pair of 2000
tokens each then takes ten seconds.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from decant.core.errors import UserError

PROBE = "a"
"""A text of at least one token."""


class Tokens(NamedTuple):
    """An input as token ids."""

    ids: np.ndarray
    """(T,), int64"""
    types: np.ndarray
    """(T,), int64: 0 in the first text of a pair, 1 in the second."""


class Segment(NamedTuple):
    """A part of an input: special tokens, or the place of a text."""

    text: int | None
    """The text that stands here, from 0; None: special tokens."""
    ids: list[int]
    """Of the special tokens."""
    type: int


class TokenTemplate:
    """The order of special tokens and texts in an input, and how many tokens of each text are kept.

    Args:
        tokenizer: without truncation.
        texts: in an input, 1 or 2.
        max_length: tokens in an input, special tokens included; None: no limit.
        side: where a text is cut.

    Raises:
        UserError: the tokenizer drops letters that it does not know.
    """

    def __init__(self, tokenizer: Tokenizer, texts: int, max_length: int | None, side: str) -> None:
        probe = tokenizer.encode(PROBE, PROBE if texts == 2 else None)
        tokens = zip(probe.sequence_ids, probe.ids, probe.type_ids, strict=True)
        self.segments = []
        for (text, kind), part in groupby(tokens, key=lambda token: (token[0], token[2])):
            self.segments.append(Segment(text, [i for _, i, _ in part], kind))
        if {segment.text for segment in self.segments} - {None} != set(range(texts)):
            raise UserError(f"tokenizer.json has no token for {PROBE!r}, which shows where texts stand in an input")
        special = tokenizer.num_special_tokens_to_add(is_pair=texts == 2)
        self.room = None if max_length is None else max_length - special
        """The tokens of texts that are kept; None: all."""
        self.side = side

    def fill(self, texts: Sequence[list[int]]) -> Tokens:
        """The tokens of an input from the token ids of its texts."""
        lengths = [len(ids) for ids in texts]
        counts = lengths if self.room is None else truncated_lengths(lengths, self.room)
        cut = [ids[:n] if self.side == "right" else ids[len(ids) - n :] for ids, n in zip(texts, counts, strict=True)]
        parts = [
            (segment.ids if segment.text is None else cut[segment.text], segment.type) for segment in self.segments
        ]
        ids = [np.array(part, np.int64) for part, _ in parts]
        types = [np.full(len(part), kind, np.int64) for part, kind in parts]
        return Tokens(np.concatenate(ids), np.concatenate(types))


def truncated_lengths(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens of each text are kept by the strategy `longest_first`, with `room` for all."""
    if sum(lengths) <= room:
        return list(lengths)
    if len(lengths) == 1:
        return [room]
    short, long = min(lengths), room - min(lengths)
    if short > room // 2:
        short, long = room // 2, room - room // 2
    return [long, short] if lengths[0] > lengths[1] else [short, long]
