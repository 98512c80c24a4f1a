"""The locks of DVC: what a killed DVC left, and whether one works here."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from decant.commands.checks.finding import HEAL, Finding, quarantine
from decant.core.locks import is_free, read_holder
from decant.core.resume import STAGE_LOCK
from decant.workspace.dvc_locks import DAMAGE, RWLOCK, is_alive, read_holders

LOCK = Path(".dvc/tmp/lock")


def check() -> Iterator[Finding]:
    """A damaged rwlock, and entries in it of processes that have ended."""
    if not RWLOCK.is_file():
        return
    heal = partial(remove, RWLOCK)
    try:
        holders = read_holders()
    except DAMAGE as error:
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
    except DAMAGE:
        return ""
    return f"process {living[0]['pid']}: {living[0]['cmd']}" if living else ""


def remove(file: Path) -> str:
    """Put a file away."""
    return f"{file} is removed; it is {quarantine(file)} now"
