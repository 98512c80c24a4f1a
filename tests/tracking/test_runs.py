import hashlib
import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.telemetry.client
import pandas as pd
import pytest
from support.paths import ROOT

from decant.config.compose import composed
from decant.core import errors
from decant.core.errors import UserError
from decant.core.hashing import digest
from decant.tracking import events, outbox, provenance, run_ids, runs, store
from decant.tracking.runs import Run, flatten


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder without a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DECANT_INVOCATION", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def config() -> Any:
    return composed(["use.data=toy", "trainer=cpu"], ROOT)


def stage(name: str, config: dict[str, Any]) -> AbstractContextManager[Run]:
    return runs.stage(name, config, Path(".state") / name / "fingerprint")


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


def test_stages_of_one_invocation_share_a_parent_that_holds_the_config(workdir: Path, config: Any) -> None:
    for name in ("prepare", "distill"):
        (workdir / "data" / name).mkdir(parents=True)
        (workdir / "data" / name / "a").write_text(name)
        with stage(name, config) as run:
            run.log_metrics({"loss": 1.0}, 3)
            run.parent.log_metrics({"student/accuracy": 0.5})
    parents = store.find("tags.`decant.invocation` != ''")
    children = store.find(f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'")
    assert len(parents) == 1
    assert sorted(r.info.run_name for r in children) == ["distill", "prepare"]
    assert {r.info.status for r in [*parents, *children]} == {"FINISHED"}
    assert parents[0].data.params["loss.temperature"] == "4.0"
    assert parents[0].data.tags["produced_by.prepare"] == children[1].info.run_id
    assert {"hardware", "threads", "versions", "git.commit", "data.digest"} <= set(parents[0].data.tags)


def test_the_name_that_stages_know_the_experiment_by_stays(
    workdir: Path, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.connect()
    for name in ("bold-name", ""):  # a stage, then make experiment, to which DVC does not tell it
        monkeypatch.setenv("DVC_EXP_NAME", name)
        with runs.parent(config):
            pass
    (parent,) = store.find("tags.`decant.invocation` != ''")
    assert parent.data.tags["dvc.experiment"] == "bold-name"


def test_output_made_by_an_earlier_invocation_is_linked_as_restored(
    workdir: Path, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "data/prepare").mkdir(parents=True)
    (workdir / "data/prepare/a").write_text("same")
    with stage("prepare", config):
        pass
    monkeypatch.setenv("DECANT_INVOCATION", "another")
    with runs.parent(config) as run:
        pass
    note = mlflow.get_run(run.run_id).data.tags["mlflow.note.content"]
    assert "| prepare | [prepare](#/experiments/" in note
    assert "restored" in note


def test_a_stage_that_fails_leaves_no_run_running(workdir: Path, config: Any) -> None:
    with pytest.raises(ZeroDivisionError), stage("distill", config):
        1 / 0  # noqa: B018
    assert {r.info.status for r in store.find("")} == {"FAILED"}


def test_a_stage_that_was_killed_is_closed_by_the_next(workdir: Path, config: Any) -> None:
    script = (
        "import json, os, signal, sys\n"
        "from pathlib import Path\n"
        "from decant.tracking import runs\n"
        "with runs.stage('distill', json.loads(sys.argv[1]), Path('.state/distill/fingerprint')):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(config)],
        env={**os.environ, "DECANT_INVOCATION": "killed", "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == -9
    outbox.start()
    assert {r.info.status for r in store.find("")} == {"KILLED"}


def test_an_mlflow_run_id_from_outside_does_not_take_over(
    workdir: Path, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with stage("prepare", config) as run:
        assert run.run_id != run.parent.run_id


def test_ranks_above_zero_log_nothing(workdir: Path, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with stage("distill", config) as run, run.child("control") as child:
        run.log_metrics({"a": 1.0})
        child.log_artifact(workdir)
    assert not (workdir / "mlflow.db").exists()


def test_a_digest_is_of_names_and_content(workdir: Path) -> None:
    (workdir / "b/c").mkdir(parents=True)
    (workdir / "b/c/file").write_bytes(b"x")
    wanted = hashlib.sha256(b"c/file\0" + hashlib.sha256(b"x").digest()).hexdigest()
    assert digest(workdir / "b") == wanted


def test_a_config_is_flat_with_dots() -> None:
    assert flatten({"a": {"b": 1, "c": [2]}, "d": None}) == {"a.b": "1", "a.c": "[2]", "d": "None"}


def test_a_second_delivery_changes_nothing(workdir: Path) -> None:
    store.connect()
    run_id = run_ids.provisional()
    frame = pd.DataFrame({"input": ["a"], "target": [0]})
    (workdir / "report.md").write_text("report")
    (workdir / "data/prepare").mkdir(parents=True)
    for event in (
        events.StartRun(run_id, "distill", {"mlflow.parentRunId": run_id}, 1),
        events.LogMetrics(run_id, {"loss": 0.5, "f1": 0.1}, 2, 3),
        events.LogParams(run_id, {f"p{number}": "1" for number in range(101)}),
        events.SetTags(run_id, {"colour": "red"}),
        events.LogArtifact(run_id, str(workdir / "report.md"), "reports"),
        events.DescribeInvocation(run_id, {"prepare": "0"}),
        events.EndRun(run_id, "FINISHED", 4),
    ):
        event.deliver()
        event.redeliver()
    Run(run_ids.resolve(run_id)).log_dataset(frame, "train", "0" * 64)
    Run(run_ids.resolve(run_id)).log_dataset(frame, "train", "0" * 64)
    (run,) = store.find("")
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(point.value, point.timestamp, point.step) for point in history] == [(0.5, 2, 3)]
    assert (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time) == ("distill", "FINISHED", 1, 4)
    assert len(run.data.params) == 101
    assert (run.data.tags["colour"], run.data.tags["data.digest"]) == ("red", "0")
    assert [artifact.path for artifact in mlflow.MlflowClient().list_artifacts(run.info.run_id, "reports")] == [
        "reports/report.md"
    ]
    assert len(run.inputs.dataset_inputs) == 1


def test_a_model_that_the_run_has_is_not_logged_again(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(events.packaging, "exists", lambda run_id, name: name in logged)
    monkeypatch.setattr(events.packaging, "log", lambda run_id, name, folder, examples: logged.append(name))
    for _ in range(2):
        events.LogModel("run", str(workdir), "student", ["a"]).redeliver()
    assert logged == ["student"]


def test_only_missing_metrics_are_delivered_again(workdir: Path) -> None:
    store.connect()
    with runs.open_run("distill", {}) as run_id:
        Run(run_id).log_metrics({"loss": 1.0}, 3)
        events.LogMetrics(run_id, {"loss": 1.0, "f1": 0.5}, 0, 3).redeliver()
        Run(run_id, resumed=True).log_metrics({"loss": 1.0, "f1": 0.5}, 3)
        Run(run_id, resumed=True).log_metrics({"loss": 0.9}, 4)
    client = mlflow.MlflowClient()
    points = {name: [(m.value, m.step) for m in client.get_metric_history(run_id, name)] for name in ("loss", "f1")}
    assert points == {"loss": [(1.0, 3), (0.9, 4)], "f1": [(0.5, 3)]}


def test_events_find_the_run_of_a_provisional_id_from_another_process(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.connect()
    run_id = run_ids.provisional()
    start = events.StartRun(run_id, "distill", {}, 1)
    start.deliver()
    monkeypatch.setattr(run_ids, "_assigned", {})
    start.redeliver()
    events.SetTags(run_id, {"colour": "red"}).deliver()
    events.StartRun(run_ids.provisional(), "control", {"mlflow.parentRunId": run_id}, 2).deliver()
    child, run = store.find("")
    assert run.data.tags["colour"] == "red"
    assert child.data.tags["mlflow.parentRunId"] == run.info.run_id


def test_mlflow_reports_no_usage_unless_the_user_says_so(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(mlflow.telemetry.client, "_MLFLOW_TELEMETRY_CLIENT", object())
    store.connect()
    assert mlflow.telemetry.client.get_telemetry_client() is None
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_variable_that_another_thread_removes_breaks_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    class Removing(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            raise KeyError(name)

        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            return default if name == "GONE_TOKEN" else super().get(name, default)

    monkeypatch.setattr(errors.os, "environ", Removing(GONE_TOKEN="hunter22222", DB_PASSWORD="swordfish"))
    assert errors.redacted("hunter22222 swordfish") == "hunter22222 ***"


def test_the_recorded_environment_holds_the_keys_of_the_committed_one(config: Any) -> None:
    committed = provenance.read(ROOT)["prepare"]
    environment = provenance.environment(config["trainer"])
    assert environment.keys() == committed.keys() - {"digest"}
    assert environment["trainer.devices"] == "1"
    assert all(isinstance(value, str) for value in environment.values())
