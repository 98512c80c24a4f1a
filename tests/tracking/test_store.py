import os
import platform
from pathlib import Path

import mlflow
import mlflow.telemetry.client
import pytest
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2

from decant.core.errors import UserError
from decant.core.processes import process_id
from decant.tracking import outbox, store


def test_a_new_store_is_created_in_the_project_with_one_experiment(empty_workdir: Path) -> None:
    assert store.connect() == f"sqlite:///{empty_workdir}/mlflow.db"
    experiment = store.experiment()
    assert experiment.name == "decant"
    assert experiment.artifact_location == (empty_workdir / "mlartifacts").as_uri()
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"  # else the UI opens elsewhere
    store.connect()
    assert store.experiment().experiment_id == experiment.experiment_id


def test_a_stage_in_a_worktree_uses_the_store_and_the_outbox_of_the_project(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worktree = workdir / "worktree"
    worktree.mkdir()
    monkeypatch.chdir(worktree)
    monkeypatch.setenv("DECANT_PROJECT", str(workdir))
    assert store.connect() == f"sqlite:///{workdir}/mlflow.db"
    assert store.experiment().artifact_location == (workdir / "mlartifacts").as_uri()
    assert outbox.folder() == workdir / outbox.OUTBOX
    assert not list(worktree.iterdir())


def test_runs_are_found_newest_first(workdir: Path) -> None:
    store.connect()
    client, experiment = mlflow.MlflowClient(), store.experiment().experiment_id
    ids = [client.create_run(experiment, start_time=time, tags={"a": "b"}).info.run_id for time in (1, 3, 2)]
    assert [run.info.run_id for run in store.find("tags.a = 'b'")] == [ids[1], ids[2], ids[0]]


@pytest.mark.parametrize(
    ("error", "unavailable"),
    [
        (MlflowException("busy", error_code=databricks_pb2.TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("no such run", error_code=databricks_pb2.RESOURCE_DOES_NOT_EXIST), False),
        (requests.ConnectionError("refused"), True),
        (sqlalchemy.exc.OperationalError("select", {}, Exception("locked")), True),
        (ConnectionResetError(), True),
        (ValueError("no number"), False),
    ],
)
def test_an_unavailable_store_is_told_from_a_bad_request(error: Exception, unavailable: bool) -> None:
    assert store.is_unavailable(error) == unavailable


def test_a_question_to_an_unavailable_store_has_a_default_and_a_bad_one_has_none() -> None:
    def fail(error: Exception) -> int:
        raise error

    assert store.ask(lambda: 3, 0) == 3
    assert store.ask(lambda: fail(TimeoutError()), 0) == 0
    with pytest.raises(ValueError, match="bad"):
        store.ask(lambda: fail(ValueError("bad")), 0)


def test_runs_of_dead_processes_are_closed_and_those_of_living_ones_and_other_machines_are_not(workdir: Path) -> None:
    store.connect()
    client, experiment = mlflow.MlflowClient(), store.experiment().experiment_id
    host = platform.node()
    processes = {"living": process_id(), "dead": f"{host} {os.getpid()} 1.0", "elsewhere": f"not-{host} 1 1.0"}
    for name, process in processes.items():
        client.create_run(experiment, run_name=name, tags={"decant.process": process})
    store.close_dead()
    statuses = {run.info.run_name: run.info.status for run in store.find("")}
    assert statuses == {"living": "RUNNING", "dead": "KILLED", "elsewhere": "RUNNING"}


@pytest.mark.parametrize("uri", ["file:./mlruns", "mlruns", "sqlite:///mlflow.db"])
def test_stores_that_lose_runs_are_refused(workdir: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"MLflow no longer writes to folders. Expected an absolute"):
        store.connect()


def test_a_server_that_does_not_answer_is_named_at_once_and_without_its_password(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"no MLflow server answers at http://127.0.0.1:9") as caught:
        store.connect()
    assert "secret" not in str(caught.value)


def test_a_database_that_cannot_be_made_is_named(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "blocked").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workdir}/blocked/mlflow.db")
    with pytest.raises(UserError, match="cannot be used"):
        store.connect()


def test_mlflow_reports_no_usage_unless_the_user_says_so(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(mlflow.telemetry.client, "_MLFLOW_TELEMETRY_CLIENT", object())
    store.connect()
    assert mlflow.telemetry.client.get_telemetry_client() is None
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
