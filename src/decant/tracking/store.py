"""The MLflow store: where runs are kept, how they are found, and whether it answers."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import mktime_tz, parsedate_tz
from pathlib import Path
from typing import TypeVar

import mlflow
import mlflow.telemetry
import requests
from filelock import FileLock
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from decant.core import project
from decant.core.errors import UserError, redacted
from decant.core.processes import uptime

Answer = TypeVar("Answer")
PARENT_TAG = "mlflow.parentRunId"
"""MLflow's tag for the parent of a nested run."""
REQUESTS = {"MAX_RETRIES": "2", "BACKOFF_FACTOR": "1", "TIMEOUT": "30"}
"""Limits on requests of MLflow's client, which otherwise retries for minutes while training waits (see outbox.py)."""
UNAVAILABLE = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
"""MLflow's error codes for a failure of the store itself, not of the request."""
PLAIN = re.compile(r"[\w.:/ -]*", re.ASCII)
"""Values that a search string of MLflow can hold."""
CLIENT_LIBRARIES = ("boto3", "botocore", "requests", "sqlalchemy", "urllib3")
"""Libraries that connect to stores: their exceptions are about the connection."""
_server_time: tuple[float, float] | None = None
"""The time of the MLflow server when it was last asked, and `uptime` then; None: the store is a database."""


def connect() -> str:
    """Point MLflow at `MLFLOW_TRACKING_URI` or mlflow.db of the project, and its experiment; return the URI.

    Raises:
        UserError: a `file:` store, a server that does not answer, a path that cannot be written.
    """
    disable_telemetry()
    root = project.root().resolve()
    os.environ.pop("MLFLOW_RUN_ID", None)  # it would take precedence over the parent run that tags name
    uri = os.environ.get("MLFLOW_TRACKING_URI") or _sqlite_uri(root / "mlflow.db")
    global _server_time
    _server_time = _check_uri(uri, root)
    mlflow.set_tracking_uri(uri)
    try:
        with FileLock(_lock_file(uri, root)):  # several processes that create one SQLite file at once corrupt it
            _select_experiment(uri, root)
    except (OSError, MlflowException, ImportError, SQLAlchemyError) as error:  # a database's driver may be missing
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the MLflow store {uri} cannot be used: {reason}; correct MLFLOW_TRACKING_URI (a database needs its "
            f"driver), or unset it to use {root / 'mlflow.db'}; if that file is damaged, move it away"
        ) from error
    return uri


def disable_telemetry() -> None:
    """Turn off MLflow's usage reports, unless `MLFLOW_DISABLE_TELEMETRY` says otherwise.

    MLflow read the variable when it was imported; the call makes it read the variable again.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow.telemetry.set_telemetry_client()


def _check_uri(uri: str, root: Path) -> tuple[float, float] | None:
    """See `_server_time`."""
    if uri.startswith(("http://", "https://")):
        for name, value in REQUESTS.items():
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        return _check_server(uri)
    if not uri.startswith(("sqlite:////", "postgresql", "mysql", "databricks")):
        raise UserError(
            f"MLFLOW_TRACKING_URI is {redacted(uri)!r}; MLflow no longer writes to folders. Expected an absolute "
            f"sqlite:////path/mlflow.db or the http:// address of a server; unset it to use {root / 'mlflow.db'}"
        )
    return None


def _check_server(uri: str) -> tuple[float, float]:
    try:
        # not through MLflow's client, which retries for minutes before it fails
        response = requests.get(f"{uri.rstrip('/')}/health", timeout=10)
        response.raise_for_status()
    except requests.RequestException as error:
        raise UserError(
            f"no MLflow server answers at {redacted(uri)} ({type(error).__name__}); start it, correct "
            "MLFLOW_TRACKING_URI, or unset it to use mlflow.db here"
        ) from error
    date = parsedate_tz(response.headers.get("Date", ""))
    return (mktime_tz(date) if date else time.time()), uptime()


def _sqlite_uri(file: Path) -> str:
    uri = f"sqlite:///{file}"
    if _sqlite_file(uri) == file:
        return uri
    return URL.create("sqlite", database=str(file)).render_as_string()  # the path holds a question mark, or %41


def _sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None: it is another kind of store."""
    return Path(str(make_url(uri).database)) if uri.startswith("sqlite:") else None


def _lock_file(uri: str, root: Path) -> Path:
    """The file to lock while a store may be created: next to a SQLite file, which several projects may share."""
    if file := _sqlite_file(uri):
        return file.with_name(f"{file.name}.lock")
    (root / ".state").mkdir(exist_ok=True)
    return root / ".state/mlflow.lock"


def _select_experiment(uri: str, root: Path) -> None:
    name, file = experiment_name(), _sqlite_file(uri)
    artifacts = (root / "mlartifacts").as_uri() if file else None
    if file and not file.exists():
        # else MLflow makes ./mlruns the folder of its own experiment, in SQL that a quote in the path breaks
        SqlAlchemyStore(uri, artifacts)
    if mlflow.get_experiment_by_name(name) is None:
        # without the tag, the UI opens on its empty page for language-model traces
        kind = {"mlflow.experimentKind": "custom_model_development"}
        mlflow.create_experiment(name, artifact_location=artifacts, tags=kind)
    mlflow.set_experiment(name)


def experiment_name() -> str:
    """The name of the MLflow experiment that holds the runs."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", "decant")


def experiment() -> Experiment:
    """The MLflow experiment that holds the runs."""
    return mlflow.get_experiment_by_name(experiment_name())


def find(query: str = "", tags: Mapping[str, str] | None = None) -> list[Run]:
    """Runs of the experiment, newest first, that match a search string of MLflow and have all these tags.

    The values of `tags` may hold any character; in a search string, MLflow has no escape for a quote.
    """
    tags = tags or {}
    conditions = [f"tags.`{name}` = '{value}'" for name, value in tags.items() if PLAIN.fullmatch(value)]
    runs = _search(" and ".join([*([query] if query else []), *conditions]))
    return [run for run in runs if tags.items() <= run.data.tags.items()]


def _search(query: str) -> Iterator[Run]:
    client, ids, page = mlflow.MlflowClient(), [experiment().experiment_id], None
    while True:
        runs = client.search_runs(ids, query, order_by=["attributes.start_time DESC"], page_token=page)
        yield from runs
        page = runs.token
        if not page:
            return


def clock() -> float:
    """The time in seconds since the epoch: that of the server, if there is one, whose clients may have others."""
    if _server_time is None:
        return time.time()
    at_connect, uptime_then = _server_time
    return at_connect + uptime() - uptime_then


def address() -> str:
    """The URI of the store and the experiment in it, without credentials."""
    return f"{redacted(mlflow.get_tracking_uri())} {experiment_name()}"


def answers() -> bool:
    """Whether the store answers a request that is certainly valid."""
    return ask(experiment, None) is not None


def ask(question: Callable[[], Answer], default: Answer) -> Answer:
    """The store's answer; `default` while the store is unavailable."""
    try:
        return question()
    except Exception as error:
        if not is_unavailable(error):
            raise
        return default


def is_unavailable(error: Exception) -> bool:
    """Whether the store failed, as far as one can tell, and not the request."""
    if isinstance(error, MlflowException):  # an SQL store reports text that it cannot encode as an internal error
        return error.error_code in UNAVAILABLE and not isinstance(error.__cause__, ValueError | TypeError)
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or library in CLIENT_LIBRARIES
