import os
from pathlib import Path

import mlflow
import mlflow.telemetry.client
import pytest
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2

from decant.core.errors import UserError
from decant.tracking import outbox, runs, store
from decant.tracking.runs import Run

NIGHTLY = pytest.mark.nightly
TEXTS = ("it's", '"', "'\"`", "100%", "a\\b", "two\nlines", "ü", " ' or '1' = '1", "--")


def internal_error(cause: Exception) -> MlflowException:
    """An error of the store, as MLflow raises it for any error under its database."""
    error = MlflowException("internal")
    error.__cause__ = cause
    return error


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ['it\'s "my" 100% project', "a?b#c%41\\\nü"])
def test_a_store_works_in_a_project_of_any_name(
    name: str, empty_workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = empty_workdir / "projects" / name
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    store.connect()
    (folder / "report.md").write_text("report")
    with runs.open_run(name, {"name": name}) as run_id:
        Run(run_id).log_artifact(folder / "report.md")
    (run,) = store.find(f"attributes.run_id = '{run_id}'")
    assert (run.info.run_name, run.data.tags["name"], run.info.status) == (name, name, "FINISHED")
    assert (folder / "mlflow.db").is_file()
    assert [file.read_text() for file in (folder / "mlartifacts").rglob("report.md")] == ["report"]


def test_runs_are_found_newest_first(workdir: Path) -> None:
    store.connect()
    client, experiment = mlflow.MlflowClient(), store.experiment().experiment_id
    ids = [client.create_run(experiment, start_time=time, tags={"a": "b"}).info.run_id for time in (1, 3, 2)]
    assert [run.info.run_id for run in store.find("tags.a = 'b'")] == [ids[1], ids[2], ids[0]]


def test_runs_are_found_by_tags_of_any_value(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.connect()
    client, experiment = mlflow.MlflowClient(), store.experiment().experiment_id
    for value in TEXTS:
        client.create_run(experiment, tags={"label": value, "plain": "a b"})
    search = client.search_runs
    monkeypatch.setattr(
        mlflow.MlflowClient, "search_runs", lambda _, *a, **options: search(*a, max_results=3, **options)
    )
    assert len(store.find()) == len(TEXTS)  # in several pages
    for value in TEXTS:
        (run,) = store.find(tags={"label": value, "plain": "a b"})
        assert run.data.tags["label"] == value
        assert not store.find("attributes.status = 'FINISHED'", {"label": value})


def test_the_time_is_that_of_the_server_whatever_happens_to_the_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    response = requests.Response()
    response.status_code = 200
    response.headers["Date"] = "Thu, 01 Jan 1970 00:16:40 GMT"
    monkeypatch.setattr(requests, "get", lambda *_, **__: response)
    monkeypatch.setattr(store, "_server_time", store._check_server("http://server"))
    before = store.clock()
    monkeypatch.setattr(store.time, "time", lambda: 0.0)
    assert 1000 <= before <= store.clock() < 1060
    monkeypatch.setattr(store, "_server_time", None)
    assert store.clock() == 0


@pytest.mark.parametrize(
    ("error", "unavailable"),
    [
        (MlflowException("busy", error_code=databricks_pb2.TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("no such run", error_code=databricks_pb2.RESOURCE_DOES_NOT_EXIST), False),
        (requests.ConnectionError("refused"), True),
        (sqlalchemy.exc.OperationalError("select", {}, Exception("locked")), True),
        (ConnectionResetError(), True),
        (ValueError("no number"), False),
        (internal_error(UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")), False),
        (internal_error(OSError("lost")), True),
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
