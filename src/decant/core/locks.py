"""Exclusive locks that name their holder, and that end with the last process that holds them."""

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from decant.core import processes
from decant.core.errors import UserError

GRACE_SECONDS = 30.0
"""Time for a stage to close its run after DVC was killed: another stage may soon start in its place."""


@contextmanager
def exclusive(file: Path, purpose: str) -> Iterator[int]:
    """Hold a lock on a file inside the block; the file descriptor holds it, too, in a process that inherits it.

    A lock whose holder was killed is waited for: processes that the holder started may be about to end.

    Args:
        file: the lock file; it names the holder, and stays when the lock is free.
        purpose: what the holder does, for the message.

    Raises:
        UserError: another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(descriptor, file, purpose)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, file: Path, purpose: str) -> None:
    deadline = time.monotonic() + GRACE_SECONDS + 10
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        holder = read_holder(file)
        if is_alive(holder) or time.monotonic() > deadline:
            raise UserError(
                f"{purpose} already: process {holder.get('pid', '?')} on {holder.get('host', '?')}, since "
                f"{holder.get('since', '?')}; wait for it, or stop it"
            )
        time.sleep(0.1)


def is_free(file: Path) -> bool:
    """Whether nobody holds the lock."""
    try:
        with file.open("r+") as opened:  # NFS locks no file that is open for reading alone
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def read_holder(file: Path) -> dict[str, Any]:
    """The last process that took the lock; empty if the file does not name one."""
    try:
        holder = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def is_alive(holder: dict[str, object]) -> bool:
    """Whether a holder still runs; True for one of another machine or container, about which nothing is known."""
    return bool(holder) and processes.is_alive(str(holder.get("process"))) is not False


def _this_process() -> dict[str, str | int]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"host": platform.node(), "pid": os.getpid(), "process": processes.process_id(), "since": since}
