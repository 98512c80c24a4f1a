"""Where MLflow keeps runs: which store, whether it can be used, and the runs that dead processes left open."""

import os
import platform
from pathlib import Path
from typing import Any

import mlflow
import requests
from filelock import FileLock
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from decant.core.errors import UserError, redacted
from decant.core.processes import is_alive

REQUESTS = {"MAX_RETRIES": "2", "BACKOFF_FACTOR": "1", "TIMEOUT": "30"}
"""Of MLflow's client: it would try for minutes, and a training wait for it (see deliver.py)."""


def connect(root: Path | None = None) -> str:
    """Point MLflow at `MLFLOW_TRACKING_URI` or <root>/mlflow.db and its experiment; return the URI.

    Raises:
        UserError: a `file:` store, a server that does not answer, a place that cannot be written.
    """
    root = (root or Path()).resolve()
    os.environ.pop("MLFLOW_RUN_ID", None)  # it would win over the parent given here
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
    if uri.startswith(("http://", "https://")):
        for name, value in REQUESTS.items():
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        _reach(uri)
    elif not uri.startswith(("sqlite:////", "postgresql", "mysql", "databricks")):
        raise UserError(
            f"MLFLOW_TRACKING_URI is {redacted(uri)!r}; MLflow no longer writes to folders. Expected an absolute "
            f"sqlite:////path/mlflow.db or the http:// address of a server; unset it to use {root / 'mlflow.db'}"
        )
    mlflow.set_tracking_uri(uri)
    name = experiment_name()
    try:
        # several processes that meet a fresh SQLite file destroy it
        with FileLock(lock(uri, root)):
            if mlflow.get_experiment_by_name(name) is None:
                artifacts = (root / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
                # else the UI opens on its page for language-model traces, which stays empty
                kind = {"mlflow.experimentKind": "custom_model_development"}
                mlflow.create_experiment(name, artifact_location=artifacts, tags=kind)
            mlflow.set_experiment(name)
    except (OSError, MlflowException, ImportError, SQLAlchemyError) as error:  # a database's driver may be missing
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the MLflow store {uri} cannot be used: {reason}; correct MLFLOW_TRACKING_URI (a database needs its "
            f"driver), or unset it to use {root / 'mlflow.db'}; where that is damaged, move it away"
        ) from error
    return uri


def lock(uri: str, root: Path) -> Path:
    """The file that is locked while a store may be made: beside a SQLite file, which other projects may share."""
    if uri.startswith("sqlite:"):
        file = Path(uri.removeprefix("sqlite:///").partition("?")[0])
        return file.with_name(f"{file.name}.lock")
    (root / ".state").mkdir(exist_ok=True)
    return root / ".state/mlflow.lock"


def _reach(uri: str) -> None:
    try:
        # by hand: MLflow's own client retries for minutes before it says so
        requests.get(f"{uri.rstrip('/')}/health", timeout=10).raise_for_status()
    except requests.RequestException as error:
        raise UserError(
            f"no MLflow server answers at {redacted(uri)} ({type(error).__name__}); start it, correct "
            "MLFLOW_TRACKING_URI, or unset it to use mlflow.db here"
        ) from error


def experiment_name() -> str:
    """Of MLflow's experiment that runs are kept in."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", "decant")


def experiment() -> Any:
    """MLflow's experiment of that name."""
    return mlflow.get_experiment_by_name(experiment_name())


def find(query: str) -> list[Any]:
    """Runs of the experiment that match, newest first."""
    place = [experiment().experiment_id]
    return mlflow.MlflowClient().search_runs(place, query, order_by=["attributes.start_time DESC"])


def close_dead() -> None:
    """Close the runs of processes of this machine that were killed without a chance to do so."""
    for run in find("attributes.status = 'RUNNING'"):
        host, pid, started = (run.data.tags.get("decant.process", "? 0 0")).split()
        if host == platform.node() and not is_alive(int(pid), float(started)):
            mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")
