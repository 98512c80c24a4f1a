"""The processes that DVC's rwlock names: those that read or write outputs in a project."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import psutil

RWLOCK = Path(".dvc/tmp/rwlock")
DAMAGE = (ValueError, TypeError, KeyError, AttributeError)
"""What `read_holders` raises on an rwlock that is cut off or has another form."""


def read_holders(file: Path = RWLOCK) -> list[dict[str, Any]]:
    """The processes that an rwlock names, each with its `pid` and `cmd`.

    Raises:
        ValueError: it is not JSON; TypeError, KeyError, AttributeError: it has another form.
    """
    content = json.loads(file.read_text("utf-8"))
    entries = [*content.get("write", {}).values(), *chain(*content.get("read", {}).values())]
    return [{"pid": int(entry["pid"]), "cmd": str(entry["cmd"])} for entry in entries]


def is_alive(holder: dict[str, Any], file: Path = RWLOCK) -> bool:
    """Whether a process that an rwlock names still runs; one that started after the last entry is another."""
    try:
        return psutil.Process(holder["pid"]).create_time() <= file.stat().st_mtime
    except psutil.NoSuchProcess:
        return False
