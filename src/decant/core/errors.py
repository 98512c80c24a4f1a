"""Errors that a user can put right, and helpers that word them."""

import difflib
from collections.abc import Iterable

from decant.core.redaction import redacted


class UserError(Exception):
    """An error that the user can put right; printed without a traceback, exit code 2.

    Takes one sentence or several: all problems that could be detected, raised once. Each says what was found, what was
    expected and the next step. Credentials are removed.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        sentences = [problems] if isinstance(problems, str) else problems
        self.problems = [redacted(sentence) for sentence in sentences]
        super().__init__("\n".join(self.problems))


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
