"""Requests and files like valid ones, changed at random."""

import json
import random
from collections.abc import Callable
from typing import Any

VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda draw: None,
    lambda draw: draw.choice([True, False]),
    lambda draw: draw.choice([0, -1, 2**70, 1e308, float("nan"), float("inf")]),
    lambda draw: "".join(chr(draw.randrange(0xD900)) for _ in range(draw.randrange(30))),  # halves of pairs, too
    lambda draw: draw.choice(["a", "", " ", "word " * 5000, "x" * 5000, "\x00", "[SEP]", "text", "aGVsbG8="]),
    lambda draw: [any_value(draw) for _ in range(draw.randrange(4))],
    lambda draw: {any_key(draw): any_value(draw) for _ in range(draw.randrange(4))},
)
KEYS = ("inputs", "dataframe_split", "dataframe_records", "params", "columns", "data", "index", "text", "text_pair")
BYTES = (
    b"",
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b'"',
    b"\\",
    b"[" * 2000,
    b"9" * 2000,
    b"\n",
    b",",
    b'"\r\n"',
    b"\xef\xbb\xbf",
)


def any_value(draw: random.Random) -> Any:
    """A value that JSON can hold."""
    return draw.choice(VALUES)(draw)


def any_key(draw: random.Random) -> str:
    """A key that a request may have, or another."""
    return draw.choice([*KEYS, "top_k", "", "x"])


def changed_value(value: Any, draw: random.Random) -> Any:
    """A value with a part of it replaced, removed or repeated."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        name = draw.choice(list(value))
        others = {k: v for k, v in value.items() if k != name}
        if draw.random() < 0.2:
            return {**others, any_key(draw): value[name]}
        return {**others, name: changed_value(value[name], draw)} if draw.random() < 0.9 else others
    if isinstance(value, list) and value and draw.random() < 0.8:
        position = draw.randrange(len(value))
        return [
            *value[:position],
            changed_value(value[position], draw),
            *value[position : position + draw.randrange(2)],
        ]
    return any_value(draw)


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    """Bytes with some of them replaced, removed or repeated."""
    for _ in range(draw.randrange(1, 4)):
        start = draw.randrange(len(content) + 1)
        end = min(len(content), start + draw.randrange(10))
        part = draw.choice([*BYTES, draw.randbytes(draw.randrange(5)), content[start:end] * 2])
        content = content[:start] + part + content[end:]
    return content


def changed_json(value: Any, draw: random.Random) -> bytes:
    """A JSON text like that of a value: other values, other bytes, or both."""
    if draw.random() < 0.7:
        value = changed_value(value, draw)
    content = json.dumps(value).encode()
    return changed_bytes(content, draw) if draw.random() < 0.4 else content
