"""The latest invocations of the pipeline and the run of each, in .state/invocations/ of the project.

A record is written before MLflow has the run. So an invocation that was killed at any moment is continued in the same
run by the next one that does the same work.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from decant.core import project
from decant.core.processes import is_alive, process_id
from decant.tracking import run_ids

FOLDER = Path(".state/invocations")
MAX_RECORDS = 16


@dataclass(frozen=True)
class Invocation:
    """One invocation, of one stage or several."""

    run: str
    """The provisional id of its run, which identifies it."""
    launcher: str
    """What started its stages; see `runs.launcher`."""
    work: str
    """A digest of what decides its results."""
    process: str
    """The last process that took part; see `process_id`."""
    finished: bool = False


def claim(launcher: str, work: str) -> Invocation:
    """The invocation of this process: begun by its launcher, or interrupted in the same work, or a new one."""
    folder().mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder()}.lock"):
        records = [*_records()]
        begun = [r for r in records if r.launcher == launcher]
        interrupted = [r for r in records if r.work == work and not r.finished and not is_alive(r.process)]
        new = Invocation(run_ids.provisional(), launcher, work, process_id())
        record = replace(next(iter([*begun, *interrupted]), new), launcher=launcher, process=process_id())
        _write(record)
    return record


def finish(run: str) -> None:
    """Record that no later invocation continues the one of this provisional id."""
    for record in _records():
        if record.run == run:
            _write(replace(record, finished=True))


def folder() -> Path:
    """Where the records of the project lie."""
    return project.root() / FOLDER


def _records() -> Iterator[Invocation]:
    """All records, newest first; those beyond `MAX_RECORDS` are deleted, and what is damaged is passed over."""
    files = sorted(folder().glob("*.json"), key=lambda file: file.lstat().st_mtime_ns, reverse=True)
    for file in files[:MAX_RECORDS]:
        with suppress(OSError, ValueError, TypeError, RecursionError):
            yield Invocation(**json.loads(file.read_bytes()))
    for file in files[MAX_RECORDS:]:
        with suppress(OSError):
            file.unlink()


def _write(record: Invocation) -> None:
    file = folder() / f"{record.run}.json"
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(asdict(record)))
    fresh.replace(file)  # a process that is killed here leaves a whole record
