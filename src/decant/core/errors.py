"""Errors that a user can put right, and helpers that word them."""

import difflib
import os
import re
from collections.abc import Iterable

SECRET = "token|secret|passw|key|credential|signature"
"""A variable, or a part of a URI, with one of these in its name holds a credential."""
SECRET_URI_PART = r"|auth|(?<![a-z])(?:sig|pass|pwd)(?![a-z])"
"""Further names for parts of a URI only: $PWD is a folder."""


class UserError(Exception):
    """An error that the user can put right; printed without a traceback, exit code 2.

    Takes one sentence or several: all problems that could be detected, raised once. Each says what was found, what was
    expected and the next step. Credentials are removed.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        sentences = [problems] if isinstance(problems, str) else problems
        self.problems = [redacted(sentence) for sentence in sentences]
        super().__init__("\n".join(self.problems))


def redacted(text: str) -> str:
    """`text` without credentials: those in URIs, and the values of environment variables named like credentials."""
    text = re.sub(r"://[^/\s]*@", "://", text)
    name = f"{SECRET}{SECRET_URI_PART}"
    text = re.sub(rf"([?&][^=&\s]*(?:{name})[^=&\s]*=)[^&\s'\"]+", r"\1***", text, flags=re.IGNORECASE)
    # another thread may remove a variable meanwhile: os.environ.items() would raise KeyError
    variables = {variable: os.environ.get(variable, "") for variable in list(os.environ)}
    # a shorter value may occur in a text by chance
    secrets = {v for k, v in variables.items() if len(v) >= 8 and re.search(SECRET, k, re.IGNORECASE)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def require(component: object, **checks: tuple[bool, str]) -> None:
    """Refuse attributes of a component: by name, whether the value is valid, and what was expected.

    Raises:
        UserError: with every invalid one.
    """
    problems = [
        f"{name} is {getattr(component, name)!r}, expected {expected}"
        for name, (valid, expected) in checks.items()
        if not valid
    ]
    if problems:
        raise UserError(problems)


def suggestion(word: str, known: list[str]) -> str:
    """The known word that a misspelt `word` is closest to, for the end of a message; empty where none is close."""
    close = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
