"""The locks of DVC: what a killed DVC left, and whether one works here."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import psutil

from decant.commands.checks.finding import HEAL, Finding, quarantine
from decant.core.locks import is_free, read_holder
from decant.core.resume import STAGE_LOCK

LOCK, RWLOCK = Path(".dvc/tmp/lock"), Path(".dvc/tmp/rwlock")


def check() -> Iterator[Finding]:
    """A damaged rwlock, and entries in it of processes that have ended."""
    if not RWLOCK.is_file():
        return
    heal = partial(remove, RWLOCK)
    try:
        holders = read_holders()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        yield Finding(f"DVC's {RWLOCK} is cut off ({error}): every command of DVC fails", HEAL, heal)
        return
    if holders and not any(is_alive(holder) for holder in holders):
        names = ", ".join(f"{holder['pid']} ({holder['cmd']})" for holder in holders)
        yield Finding(f"DVC's {RWLOCK} names processes that have ended: {names}", HEAL, heal)


def working() -> str:
    """What works in this project now; empty: nothing does."""
    if not is_free(STAGE_LOCK):
        return f"a stage, process {read_holder(STAGE_LOCK).get('pid', '?')},"
    if not is_free(LOCK):
        return f"DVC, process {LOCK.read_text().strip()}"
    try:
        living = [holder for holder in read_holders() if is_alive(holder)] if RWLOCK.is_file() else []
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    return f"process {living[0]['pid']}: {living[0]['cmd']}" if living else ""


def read_holders() -> list[dict[str, Any]]:
    """The processes that the rwlock names, each with its `pid` and `cmd`.

    Raises:
        ValueError: it is not JSON; TypeError, KeyError, AttributeError: it has another form.
    """
    content = json.loads(RWLOCK.read_text("utf-8"))
    entries = [*content.get("write", {}).values(), *chain(*content.get("read", {}).values())]
    return [{"pid": int(entry["pid"]), "cmd": str(entry["cmd"])} for entry in entries]


def is_alive(holder: dict[str, Any]) -> bool:
    """Whether a process that the rwlock names still runs; one that started after the last entry is another."""
    try:
        return psutil.Process(holder["pid"]).create_time() <= RWLOCK.stat().st_mtime
    except psutil.NoSuchProcess:
        return False


def remove(file: Path) -> str:
    """Put a file away."""
    return f"{file} is removed; it is {quarantine(file)} now"
