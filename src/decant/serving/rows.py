"""One row of a file, as every reader yields it."""

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row of a file."""

    values: dict[str, Any]
    source: str
    """The file, for messages."""
    line: int
    """From 1; 0: the row is the whole file."""
    size: int
    """The bytes of the file that the row took."""

    def location(self) -> str:
        """File and line, at the start of a message."""
        return f"{self.source}, line {self.line}" if self.line else self.source
