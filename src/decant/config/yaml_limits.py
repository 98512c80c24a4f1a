"""What a yaml file may hold, checked on its events: before a parser unfolds its aliases or recurses into its values."""

from collections.abc import Iterable
from pathlib import Path

import yaml

from decant.core.errors import UserError
from decant.core.reading import parsing, read_file

MAX_BYTES = 256 << 10
MAX_TEXT = 1000
"""Characters of a key or value: longer ones are no paths, names or numbers."""
MAX_DEPTH = 50
"""Values inside each other."""
MAX_NODES = 20_000
"""Keys and values, an alias counted with all that it stands for."""
# of LibYAML: the parser in Python takes forty times as long
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
REMEDY = "correct it, or take it from git again"


def read_yaml(file: Path, name: str) -> str:
    """The text of a yaml file that is safe to load; `name`: the file in messages.

    Raises:
        UserError: no file, no regular one, too large, no text, or it does not parse; values that are too many, too
            long, too deep inside each other, or contain themselves.
    """
    try:
        content = read_file(file, MAX_BYTES)
    except FileNotFoundError as error:
        raise UserError(f"no {name}, which decant needs; take it from git again") from error
    with parsing(f"{name} does not parse", REMEDY):
        text = content.decode("utf-8-sig")
        if problem := node_problem(yaml.parse(text, LOADER)):
            raise UserError(f"{name} {problem}; {REMEDY}")
    return text


def node_problem(events: Iterable[yaml.Event]) -> str:
    """What is wrong with the values of a file; "" where nothing is.

    Raises:
        yaml.YAMLError: it does not parse.
    """
    sizes: dict[str | None, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and the number of nodes before its first
    total = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in (anchor for anchor, _ in open_nodes):
                return f"has the alias *{event.anchor} inside &{event.anchor}, and so no end"
            total += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes |= {anchor: total - before} if anchor else {}
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            sizes |= {event.anchor: 1} if event.anchor else {}
            if len(event.value) > MAX_TEXT:
                return f"has a value of {len(event.value):,} characters, expected at most {MAX_TEXT:,}"
        if len(open_nodes) > MAX_DEPTH:
            return f"has values {MAX_DEPTH} deep inside each other, expected fewer"
        if total > MAX_NODES:
            return f"has more than {MAX_NODES:,} values, its aliases unfolded; expected fewer"
    return ""
