"""The MLflow store: where runs are kept, whether it answers, and runs that dead processes left open."""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import mlflow
import mlflow.telemetry
import requests
from filelock import FileLock
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from decant.core import project
from decant.core.errors import UserError, redacted
from decant.core.processes import is_alive

Answer = TypeVar("Answer")
PARENT_TAG = "mlflow.parentRunId"
"""MLflow's tag for the parent of a nested run."""
REQUESTS = {"MAX_RETRIES": "2", "BACKOFF_FACTOR": "1", "TIMEOUT": "30"}
"""Limits on requests of MLflow's client, which otherwise retries for minutes while training waits (see outbox.py)."""
UNAVAILABLE = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
"""MLflow's error codes for a failure of the store itself, not of the request."""
CLIENT_LIBRARIES = ("boto3", "botocore", "requests", "sqlalchemy", "urllib3")
"""Libraries that connect to stores: their exceptions are about the connection."""


def connect() -> str:
    """Point MLflow at `MLFLOW_TRACKING_URI` or mlflow.db of the project, and its experiment; return the URI.

    Raises:
        UserError: a `file:` store, a server that does not answer, a path that cannot be written.
    """
    disable_telemetry()
    root = project.root().resolve()
    os.environ.pop("MLFLOW_RUN_ID", None)  # it would take precedence over the parent run that tags name
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
    _check_uri(uri, root)
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


def _check_uri(uri: str, root: Path) -> None:
    if uri.startswith(("http://", "https://")):
        for name, value in REQUESTS.items():
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        _check_server(uri)
    elif not uri.startswith(("sqlite:////", "postgresql", "mysql", "databricks")):
        raise UserError(
            f"MLFLOW_TRACKING_URI is {redacted(uri)!r}; MLflow no longer writes to folders. Expected an absolute "
            f"sqlite:////path/mlflow.db or the http:// address of a server; unset it to use {root / 'mlflow.db'}"
        )


def _check_server(uri: str) -> None:
    try:
        # not through MLflow's client, which retries for minutes before it fails
        requests.get(f"{uri.rstrip('/')}/health", timeout=10).raise_for_status()
    except requests.RequestException as error:
        raise UserError(
            f"no MLflow server answers at {redacted(uri)} ({type(error).__name__}); start it, correct "
            "MLFLOW_TRACKING_URI, or unset it to use mlflow.db here"
        ) from error


def _lock_file(uri: str, root: Path) -> Path:
    """The file to lock while a store may be created: next to a SQLite file, which several projects may share."""
    if uri.startswith("sqlite:"):
        file = Path(uri.removeprefix("sqlite:///").partition("?")[0])
        return file.with_name(f"{file.name}.lock")
    (root / ".state").mkdir(exist_ok=True)
    return root / ".state/mlflow.lock"


def _select_experiment(uri: str, root: Path) -> None:
    name = experiment_name()
    if mlflow.get_experiment_by_name(name) is None:
        artifacts = (root / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
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


def find(query: str) -> list[Run]:
    """Runs of the experiment that match a search string of MLflow, newest first."""
    ids = [experiment().experiment_id]
    return mlflow.MlflowClient().search_runs(ids, query, order_by=["attributes.start_time DESC"])


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
    if isinstance(error, MlflowException):
        return error.error_code in UNAVAILABLE
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or library in CLIENT_LIBRARIES


def close_dead() -> None:
    """Mark runs as KILLED whose process ended without closing them."""
    for run in dead_runs():
        mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")


def dead_runs() -> list[Run]:
    """Runs whose process, on this machine, ended without closing them."""
    runs = find("attributes.status = 'RUNNING'")
    processes = [run.data.tags.get("decant.process", "? 0 0").split() for run in runs]
    return [
        run
        for run, (host, pid, started) in zip(runs, processes, strict=True)
        if host == platform.node() and not is_alive(int(pid), float(started))
    ]
