"""Delivery of events to MLflow: at once, or from a queue on disk while the store is unavailable.

Training survives an MLflow outage: events are queued in .state/outbox/<process>/ of the project, and replayed in their
order by the process itself, by the next stage, or by the command `decant deliver`.
"""

import errno
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow.exceptions import MlflowException

from decant.core import project
from decant.core.files import check_writable
from decant.core.redaction import redacted
from decant.tracking import leases, store
from decant.tracking.encoding import encodable
from decant.tracking.events import Event, FileEvent, SetTags, parse
from decant.tracking.queue_files import copy, move_into, read_lines, read_number

OUTBOX = Path(".state/outbox")  # see `folder`
RETRY_SECONDS = 15.0
"""Time before an unavailable store is tried again: each attempt blocks training."""
STORE, EVENTS, DELIVERED, LOCK = "store", "events.jsonl", "delivered", "lock"
"""Files of a process's outbox: its store, its events, the number delivered, and a lock held while the process lives."""
REFUSED, SET_ASIDE = "refused.jsonl", "refused"
"""In `OUTBOX`: events that the store refused, each with the reason; and a folder with what is no outbox."""


class Outbox:
    """The queue of one process, in `folder`, which exists only while events are pending."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lines = read_lines(folder / EVENTS)
        self.written, self.delivered = len(lines), read_number(folder / DELIVERED, len(lines))
        self.pending = lines[self.delivered :]
        self.next_attempt = 0.0
        self.failure = ""
        """Why the last attempt failed; empty while the store is available."""

    def send(self, event: Event) -> None:
        """Deliver an event; queue it while others are pending or the store is unavailable.

        Raises:
            MlflowException: MLflow refuses it.
        """
        event = replace(event, **{name: encodable(value) for name, value in vars(event).items() if name != "path"})
        if not self.pending and self._attempt(event.deliver):
            return
        self._queue(event)
        if time.monotonic() >= self.next_attempt:
            self.flush()

    def flush(self) -> None:
        """Deliver pending events until the store is unavailable; remove the folder when none is left."""
        late: list[str] = []
        while self.pending:
            try:
                event = parse(self.pending[0])
                if not self._retry(event):
                    return
                late.append(event.run_id)
            except Exception as error:
                if _is_exhaustion(error):
                    raise
                self._refuse(self.pending[0], error)
            self._remove_first()
        for run_id in dict.fromkeys(late):
            self._tag_late(run_id)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        if late:
            print(f"decant: MLflow is available again; {len(late)} queued events were delivered", file=sys.stderr)
        self.delivered, self.written, self.failure = 0, 0, ""

    def _attempt(self, deliver: Callable[[], None]) -> bool:
        """Whether `deliver` reached the store.

        Raises:
            MlflowException: it did, and MLflow refuses the event.
        """
        try:
            deliver()
        except Exception as error:
            if not store.is_unavailable(error):
                raise
            if not self.failure:
                print("decant: MLflow is unavailable; events are queued until it is back", file=sys.stderr)
            self.failure = redacted(str(error)).partition("\n")[0][:200]
            self.next_attempt = time.monotonic() + RETRY_SECONDS
            return False
        return True

    def _retry(self, event: Event) -> bool:
        """Whether an event that may have been delivered in part reached the store.

        Raises:
            MlflowException: MLflow refuses it, or delivery fails although the store is available.
        """
        for _ in range(2):  # a server that is just starting may fail on a valid event
            if self._attempt(event.deliver):
                return True
            if not store.answers():
                return False
        raise MlflowException(self.failure)

    def _queue(self, event: Event) -> None:
        """Append an event to the file, with a copy of the file or folder that it is about."""
        if not self.folder.exists():
            self._create_folder()
        if isinstance(event, FileEvent):
            event = replace(event, path=str(copy(Path(event.path), self.folder / str(self.written))))
        line = event.to_json().encode()
        with (self.folder / EVENTS).open("ab") as file:
            file.write(line + b"\n")
            os.fsync(file.fileno())
        self.written += 1
        self.pending.append(line)

    def _create_folder(self) -> None:
        fresh = self.folder.with_name(f"new {self.folder.name}")
        fresh.mkdir(parents=True)
        (fresh / STORE).write_text(store.address())
        self.lock = FileLock(fresh / LOCK)
        self.lock.acquire()  # before other processes see the folder: they deliver what nobody holds
        fresh.rename(self.folder)  # a folder never lacks the file that names its store

    def _remove_first(self) -> None:
        self.pending.pop(0)
        self.delivered += 1
        (self.folder / DELIVERED).write_text(f"{self.delivered}\n")

    def _refuse(self, line: bytes, error: Exception) -> None:
        """Move an event to the file of refused events."""
        reason, file = redacted(str(error)), self.folder.parent / REFUSED
        with file.open("a") as refused:
            refused.write(json.dumps({"event": line.decode(errors="replace"), "reason": reason}) + "\n")
        print(f"decant: an event for MLflow was refused ({reason}); it was moved to {file}", file=sys.stderr)

    def _tag_late(self, run_id: str) -> None:
        tag = SetTags(run_id, {"decant.delivered_late": "some events of this run, after an outage of MLflow"})
        with suppress(Exception):  # its other events were delivered, and the tag is only a remark
            self._retry(tag)


def send(event: Event) -> None:
    """Deliver or queue an event of this process; see `Outbox.send`."""
    _outbox(project.root()).send(event)


def start() -> None:
    """Connect to the store, deliver what ended processes left, and close their runs.

    Raises:
        UserError: the store cannot be used, or no event can be queued.
    """
    check_writable(folder())
    store.connect()
    deliver_abandoned()
    leases.close_dead()


def finish() -> None:
    """Try once more to deliver what is pending, and report what is left."""
    outbox = _outbox(project.root())
    outbox.flush()
    if outbox.pending:
        print(
            f"decant: MLflow does not answer ({outbox.failure}): {len(outbox.pending)} events are pending in "
            f"{outbox.folder}; the next stage delivers them, or, when the server is back, run: decant deliver",
            file=sys.stderr,
        )


def deliver_abandoned() -> None:
    """Deliver to this store the events of processes that have ended; set aside what is damaged."""
    if (folder() / REFUSED).is_dir():
        _set_aside(folder() / REFUSED, IsADirectoryError("expected a file"))
    for box in _entries():
        try:
            _deliver_box(box)
        except (Timeout, FileNotFoundError):
            pass  # its process lives, or another one delivers it now
        except (OSError, ValueError) as error:
            if _is_exhaustion(error):
                raise
            _set_aside(box, error)


def folder() -> Path:
    """Where the events of all processes of the project wait."""
    return project.root() / OUTBOX


def pending_folders() -> list[Path]:
    """The folders of all processes with pending events, oldest first."""
    return [box for box in _entries() if (box / STORE).exists()]


def refused_count() -> int:
    """The number of refused events."""
    return len(read_lines(folder() / REFUSED))


def damaged() -> list[Path]:
    """What was set aside because it is no outbox, or a damaged one."""
    return sorted((folder() / SET_ASIDE).glob("*"))


def _entries() -> list[Path]:
    return sorted(p for p in folder().glob("*") if p.name not in (REFUSED, SET_ASIDE) and not p.name.startswith("new "))


def _deliver_box(box: Path) -> None:
    if not (box / STORE).is_file():
        raise ValueError(f"expected a folder with the files {STORE} and {EVENTS}")
    with FileLock(box / LOCK).acquire(blocking=False):
        outbox = Outbox(box)
        if (box / STORE).read_text() == store.address():
            outbox.flush()


def _set_aside(path: Path, error: Exception) -> None:
    remedy = move_into(folder() / SET_ASIDE, path)
    print(encodable(f"decant: {path} cannot be delivered to MLflow ({error}); {remedy}"), file=sys.stderr)


def _is_exhaustion(error: Exception) -> bool:
    """Whether the machine failed, and not what was read: events stay queued."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


@cache
def _outbox(root: Path) -> Outbox:
    """The outbox of this process for a project; folder names sort by time."""
    return Outbox(root / OUTBOX / f"{time.time_ns()}-{uuid.uuid4()}")
