"""Errors that a user can put right, and the helpers that word them."""

import difflib
import inspect
import os
import re
from collections.abc import Iterable
from types import UnionType
from typing import Any, get_args, get_origin

SECRET = "token|secret|passw|key|credential|signature"
"""What the name of a variable, or of a part of a URI, says of its value."""
SHORT = r"|auth|(?<![a-z])(?:sig|pass|pwd)(?![a-z])"
"""Of a part of a URI alone: $PWD is a folder."""


class UserError(Exception):
    """Something the user can put right; printed without a traceback, exit code 2.

    Takes one sentence or several: all problems that could be found, raised once. Each says what was
    found, what was expected and the next step. Credentials are left out.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        sentences = [problems] if isinstance(problems, str) else problems
        self.problems = [redacted(sentence) for sentence in sentences]
        super().__init__("\n".join(self.problems))


def redacted(text: str) -> str:
    """`text` without credentials: those of URIs, and the values of variables that are one by their name."""
    text = re.sub(r"://[^/\s]*@", "://", text)
    text = re.sub(rf"([?&][^=&\s]*(?:{SECRET}{SHORT})[^=&\s]*=)[^&\s'\"]+", r"\1***", text, flags=re.IGNORECASE)
    # another thread may remove a variable meanwhile, so not `items`
    secrets = (os.environ.get(name, "") for name in list(os.environ) if re.search(SECRET, name, re.IGNORECASE))
    values = {value for value in secrets if len(value) >= 8}  # a shorter value may be part of an ordinary word
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def require(piece: object, **checks: tuple[bool, str]) -> None:
    """Refuse attributes of `piece` by name: whether it is good, and what was expected.

    Raises:
        UserError: with every bad one.
    """
    bad = [f"{k} is {getattr(piece, k)!r}, expected {want}" for k, (good, want) in checks.items() if not good]
    if bad:
        raise UserError(bad)


def guess(word: str, among: list[str]) -> str:
    """What was meant by a misspelt `word`, for the end of a message; empty: nothing is like it."""
    close = difflib.get_close_matches(word, among, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of a yaml is of an annotated type; what is in lists and mappings is not looked at."""
    if isinstance(kind, UnionType):
        return any(fits(value, part) for part in get_args(kind))
    plain = get_origin(kind) or kind
    if plain is Any or not isinstance(plain, type) or plain is inspect.Parameter.empty or isinstance(value, dict):
        return True
    return isinstance(value, float | int if plain is float else plain)


def hint(kind: Any) -> str:
    """An annotated type in words, for a message."""
    words = kind.__name__ if type(kind) is type else str(kind)
    return words.replace("None", "null").replace(" | ", " or ")
