"""What a stage tells MLflow: at once; or, while its server is away, kept on disk and told when it is back.

decant deliver      tells what is left of stages that have ended

A message is one of the words of messages.py, the run it is about, and values. Those that wait lie in
.state/outbox/<process>/, in their order.
"""

import base64
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import mlflow
from filelock import FileLock, Timeout
from mlflow.exceptions import MlflowException

from decant.core.errors import redacted
from decant.tracking import events
from decant.tracking.store import close_dead, connect, experiment, experiment_name

Answer = TypeVar("Answer")
OUTBOX = Path(".state/outbox")
PATIENCE = 15.0
"""Seconds before a server that was away is tried again: each try costs a step of training its time."""
AWAY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
"""What MLflow says where a message was not at fault."""
CLIENTS = ("boto3", "botocore", "requests", "sqlalchemy", "urllib3")
"""Of stores: their errors are of the way there."""
ADDRESS, MESSAGES, TOLD, LOCK = "address", "messages.jsonl", "told", "lock"
"""Files of a process's messages: which store, what, how many of them it has heard; locked while the process lives."""
REFUSED = "refused.jsonl"
"""Beside them: what MLflow would not take when it was back."""


class Outbox:
    """The messages of one process, in its `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lines = _lines(folder / MESSAGES)
        self.told = int(*_lines(folder / TOLD))
        self.waiting = [json.loads(line, object_hook=_decoded) for line in lines[self.told :]]
        self.kept = len(lines)
        self.next_try = 0.0
        self.reason = ""
        """Why the last one was not heard."""

    def say(self, word: str, run_id: str, **values: Any) -> None:
        """Tell now; or keep, where one that came before waits, or the server is away."""
        message = {"word": word, "run_id": run_id, **values}
        if not self.waiting and self.heard(message):
            return
        self.keep(message)
        if time.monotonic() >= self.next_try:
            self.flush()

    def heard(self, message: dict[str, Any], again: bool = False) -> bool:
        """Tell it, or, where it may have been heard in part, `again`; whether MLflow heard it.

        Raises:
            MlflowException: it heard, and refused.
        """
        try:
            events.tell(**(events.anew(message) if again else message))
        except Exception as error:
            if not is_away(error):
                raise
            if not self.reason:
                print("decant: MLflow is away; what it has to hear is kept meanwhile", file=sys.stderr)
            self.reason = redacted(str(error)).partition("\n")[0][:200]
            self.next_try = time.monotonic() + PATIENCE
            return False
        return True

    def keep(self, message: dict[str, Any]) -> None:
        """Write it down, with a copy of the file or folder it is about."""
        if not self.folder.exists():
            fresh = self.folder.with_name(f"fresh {self.folder.name}")
            fresh.mkdir(parents=True)
            (fresh / ADDRESS).write_text(address())
            fresh.rename(self.folder)  # never without its address
            self.lock = FileLock(self.folder / LOCK)
            self.lock.acquire()
        if "path" in message:
            message["path"] = str(_copied(Path(message["path"]), self.folder / str(self.kept)))
        with (self.folder / MESSAGES).open("ab") as file:
            file.write(json.dumps(message, default=_encoded).encode() + b"\n")
            os.fsync(file.fileno())
        self.kept += 1
        self.waiting.append(message)

    def flush(self) -> None:
        """Tell what waits, as far as MLflow hears it; then nothing is left on disk."""
        late, runs = len(self.waiting), set()
        while self.waiting:
            heard = self.retold(self.waiting[0])
            if heard is None:
                return
            runs |= {self.waiting[0]["run_id"]} if heard else set()
            self.waiting.pop(0)
            self.told += 1
            (self.folder / TOLD).write_text(f"{self.told}\n")
        for run_id in runs:
            said = {"decant.told_late": "some of this run, for its server had been away"}
            self.retold({"word": "tags", "run_id": run_id, "values": said})
        if self.folder.exists():
            shutil.rmtree(self.folder)
        if late:
            print(f"decant: MLflow is back; {late} messages that had waited were told", file=sys.stderr)
        self.told, self.kept, self.reason = 0, 0, ""

    def retold(self, message: dict[str, Any]) -> bool | None:
        """Whether MLflow heard it, or refused it: then it is set aside; none: it is away."""
        try:
            for _ in range(2):  # a server that is just coming back may fail one that is good
                if self.heard(message, again=True):
                    return True
                if not answers():
                    return None
        except MlflowException as error:  # its run was deleted, say
            self.reason = redacted(str(error))
        with (self.folder.parent / REFUSED).open("ab") as file:
            file.write(json.dumps({**message, "reason": self.reason}, default=_encoded).encode() + b"\n")
        print(f"decant: MLflow refuses {message['word']} ({self.reason}): it is in {REFUSED}", file=sys.stderr)
        return False


@cache
def outbox(root: Path) -> Outbox:
    """That of this process for a project; their names sort by time."""
    return Outbox(root / OUTBOX / f"{time.time_ns()}-{uuid.uuid4()}")


def mine() -> Outbox:
    """That of this process."""
    return outbox(Path.cwd())


def ready() -> None:
    """Connect to the store, tell it what ended processes left, and close the runs that they could not.

    Raises:
        UserError: the store cannot be used.
    """
    connect()
    late()
    close_dead()


def close() -> None:
    """Try once more to tell what waits, and say what is left; for the end of a stage."""
    box = mine()
    box.flush()
    if box.waiting:
        print(
            f"decant: MLflow does not answer ({box.reason}): {len(box.waiting)} messages wait in {box.folder}; the "
            "next stage tells them, or, when the server is back: decant deliver",
            file=sys.stderr,
        )


def late() -> None:
    """Tell this store what processes that have ended left."""
    for folder in left():
        # its process lives, or another tells it
        with suppress(Timeout, FileNotFoundError), FileLock(folder / LOCK).acquire(blocking=False):
            if (folder / ADDRESS).read_text() == address():
                Outbox(folder).flush()


def left() -> list[Path]:
    """The folders of all messages that wait."""
    return sorted(file.parent.absolute() for file in OUTBOX.glob(f"*/{ADDRESS}"))


def answers() -> bool:
    """Whether the store answers a question that nothing can be wrong with."""
    return asked(experiment, None) is not None


def asked(question: Callable[[], Answer], otherwise: Answer) -> Answer:
    """What the store says; `otherwise`, while it is away."""
    try:
        return question()
    except Exception as error:
        if not is_away(error):
            raise
        return otherwise


def is_away(error: Exception) -> bool:
    """Whether it is the store that failed, as far as one can tell, not what it was told."""
    if isinstance(error, MlflowException):
        return error.error_code in AWAY
    return isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.partition(".")[0] in CLIENTS


def address() -> str:
    """Of the store and the experiment in it, without credentials."""
    return f"{redacted(mlflow.get_tracking_uri())} {experiment_name()}"


def _lines(file: Path) -> list[bytes]:
    """The lines of a file, without a last one that is torn; none: it is not there."""
    content = file.read_bytes() if file.exists() else b""
    return content.split(b"\n")[:-1]


def _copied(path: Path, folder: Path) -> Path:
    folder.mkdir()
    copy = shutil.copytree if path.is_dir() else shutil.copy
    copy(path, folder / path.name)
    return folder / path.name


def _encoded(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def _decoded(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
