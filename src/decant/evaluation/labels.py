"""Names from the data, as pictures and Markdown can show them: any text may be a label."""

import html
import re
import unicodedata

MAX_SHOWN = 40
"""Characters of a label in a picture."""
HIDDEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
"""Unicode categories of characters that draw nothing, end a line, or turn the direction of the text after them."""
JOINERS = "\u200c\u200d"
"""Hidden characters that belong to words and to emoji."""


def printable(label: str) -> str:
    """A label on one line, hidden characters as their escapes."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in HIDDEN and c not in JOINERS else c
        for c in label
    )


def for_picture(label: str) -> str:
    """A label for matplotlib: shortened in its middle, and no formula between dollar signs."""
    text = printable(label)
    if len(text) > MAX_SHOWN:
        text = f"{text[: MAX_SHOWN // 2]}...{text[-(MAX_SHOWN // 2 - 3) :]}"
    return text.replace("$", r"\$")


def for_markdown(label: str) -> str:
    """A label for a cell of a Markdown table: none of its characters is markup."""
    text = html.escape(printable(label), quote=False)
    return re.sub(r"([\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)
