"""Copies of the files that DVC and decant write in place, so that a write which was interrupted loses nothing.

DVC writes dvc.lock and params.yaml in place: killed in that moment, it leaves them empty or cut.
"""

import json
from pathlib import Path

import yaml

from decant.core.files import write_atomically

FOLDER = Path(".state/valid")
FILES = ("dvc.lock", "params.yaml", "provenance.json")


def save() -> None:
    """Copy each of `FILES` that is valid; the copy is replaced as a whole."""
    for name in FILES:
        content = Path(name).read_bytes() if Path(name).is_file() else b""
        if content and content != saved(name) and not damage(name, content):
            write_atomically(FOLDER / name, content)


def saved(name: str) -> bytes | None:
    """The copy of a file, None if there is none that is valid."""
    copy = FOLDER / name
    content = copy.read_bytes() if copy.is_file() else b""
    return content if content and not damage(name, content) else None


def restore(name: str) -> None:
    """Replace a file by its copy; without one, delete the file if it is damaged."""
    if content := saved(name):
        write_atomically(Path(name), content)
    elif Path(name).is_file() and damage(name, Path(name).read_bytes()):
        Path(name).unlink()


def damage(name: str, content: bytes) -> str:
    """What is wrong with the content of one of `FILES`; empty if it is valid."""
    if not content.strip():
        return f"has {len(content)} bytes and no content"
    try:
        value = json.loads(content) if name.endswith(".json") else yaml.safe_load(content)
    except (ValueError, yaml.YAMLError) as error:
        return f"cannot be read: {str(error).partition(chr(10))[0]}"
    if not isinstance(value, dict):
        return f"holds a {type(value).__name__}, expected keys and values"
    return lock_damage(content, value) if name == "dvc.lock" else ""


def lock_damage(content: bytes, lock: dict[str, object]) -> str:
    """What is wrong with the content of dvc.lock, which is valid yaml still where a line or an entry is cut off."""
    stages = lock.get("stages")
    if "schema" not in lock or not isinstance(stages, dict):
        return "lacks its schema or its stages"
    complete = content.endswith(b"\n") and all(_is_complete(stage) for stage in stages.values())
    return "" if complete else "ends in the midst of an entry"


def _is_complete(stage: object) -> bool:
    if not isinstance(stage, dict) or None in stage.values():
        return False
    items = [item for key in ("deps", "outs") for item in stage.get(key, ())]
    return all(isinstance(item, dict) and item.keys() - {"path", "hash"} for item in items)
