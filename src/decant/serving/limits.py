"""What one input may cost: `decant predict` and the served model read what a user gives through these functions.

Shipped with every logged model; imports the standard library and `decant.core.errors` only.
"""

import json
import os
import re
import stat
from collections.abc import Iterable
from typing import Any, BinaryIO

from decant.core.errors import UserError

MAX_ROW_BYTES = 16 * 2**20
"""Of a line of text or JSON, of a record of CSV, and of the body of a request."""
MAX_COLUMNS = 10_000
MAX_DEPTH = 32
"""Lists and objects inside each other, in JSON."""
MAX_VALUES = 200_000
"""In a JSON text: an empty list takes 3 bytes there, and 64 in Python."""
MAX_DIGITS = 1000
"""Of a whole number in JSON."""
MAX_IMAGE_BYTES = 64 * 2**20
"""Of an image file; its pixels have their own limit (see pixels.py)."""
MAX_TOKENIZED = 200_000
"""Characters of a text that are tokenized: that takes half a second at most, and 30 MB."""
JSON_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string in JSON, also one that does not end; possessive, so that it takes no memory and one pass."""
MAX_REPR = 60
"""Characters of a value that a message repeats."""
FILE_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
"""By the type in the mode of a file; the others are devices."""


class BadJson(ValueError):
    """Bytes that are not JSON within the limits; the message is a short reason."""


def parse_json(text: str) -> Any:
    """The value of a JSON text; NaN and Infinity, which JSON lacks and Python writes, are None.

    Raises:
        BadJson: not JSON, the same key twice in an object, or more than `MAX_DEPTH`, `MAX_VALUES` or `MAX_DIGITS`.
    """
    if _value_count(text) > MAX_VALUES and _value_count(JSON_STRING.sub("", text)) > MAX_VALUES:
        raise BadJson(f"more than {MAX_VALUES:,} values")
    too_deep = f"nested more than {MAX_DEPTH} deep"
    try:
        value = json.loads(text, parse_int=_integer, parse_constant=lambda _: None, object_pairs_hook=_object)
    except BadJson:
        raise
    except ValueError as error:
        raise BadJson(f"not JSON ({error})") from error
    except RecursionError:
        raise BadJson(too_deep) from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
    if level:
        raise BadJson(too_deep)
    return value


def _value_count(text: str) -> int:
    """The values in a JSON text, and the commas and brackets in its strings."""
    return 1 + sum(map(text.count, ",[{"))


def short_repr(value: object) -> str:
    """A value in a message, as Python writes it, at most `MAX_REPR` characters."""
    text = repr(value)
    return text if len(text) <= MAX_REPR else text[: MAX_REPR - 3] + "..."


def _children(value: object) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise BadJson(f"a number of {len(digits):,} digits, expected at most {MAX_DIGITS:,}")
    return int(digits)


def _object(pairs: list[tuple[str, object]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise BadJson(f"the key {short_repr(repeated([name for name, _ in pairs]))} twice in an object")
    return values


def repeated(names: Iterable[str]) -> str | None:
    """The first name that occurs a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def check_columns(location: str, names: list[str]) -> None:
    """Refuse too many columns, and a name twice: one of the two would be lost.

    Raises:
        UserError: with the location, and the number or the name.
    """
    if len(names) > MAX_COLUMNS:
        raise UserError(f"{location}: {len(names):,} columns, expected at most {MAX_COLUMNS:,}")
    if (name := repeated(names)) is not None:
        raise UserError(f"{location}: two columns are called {short_repr(name)}; rename one")


def open_regular(name: str) -> BinaryIO:
    """Open a regular file for reading; never waits for the other end of a pipe, as `open` does.

    Raises:
        UserError: it cannot be opened, or it is a pipe, a device or a folder.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UserError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    kind = FILE_KINDS.get(stat.S_IFMT(mode), "a device")
    remedy = "" if kind == "a folder" else "; the standard input (-) takes anything else"
    raise UserError(f"{name} is {kind}, expected a regular file{remedy}")


def read_image(name: str) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: it cannot be read, or it is larger than `MAX_IMAGE_BYTES`.
    """
    with open_regular(name) as file:
        content = file.read(MAX_IMAGE_BYTES + 1)
    if len(content) > MAX_IMAGE_BYTES:
        raise UserError(f"{name} is larger than {MAX_IMAGE_BYTES:,} bytes, too large for an image here")
    return content
