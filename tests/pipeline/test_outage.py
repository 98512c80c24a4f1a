"""An MLflow server that goes down during training."""

import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from support.commands import run_fork, start_fork
from support.mlflow_server import MlflowServer

from decant.tracking import outbox

TINY = ["use.data=toy", *(f"use.{role}=tiny" for role in ("teacher", "student", "scratch"))]

TUNING = ("fine-tune", "fine-tune control")


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path)
    server.start()
    uri = mlflow.get_tracking_uri()
    yield server
    mlflow.set_tracking_uri(uri)
    server.kill()


@pytest.mark.slow
def test_training_survives_an_outage_and_all_its_events_arrive_afterwards(
    project: Path, mlflow_server: MlflowServer
) -> None:
    env = {"MLFLOW_TRACKING_URI": mlflow_server.uri}
    for name in ("prepare", "pretrain_load"):
        assert run_fork([name, *TINY], project, env).code == 0
    hparams = ["fine_tune.batch_size=8", "fine_tune.epochs=10", "fine_tune.control_epochs=2"]
    tuning = start_fork(["fine_tune", *TINY, *hparams], project, env)
    while "\nepoch 2/10" not in (project / "out").read_text():
        assert tuning.is_alive(), (project / "err").read_text()
        time.sleep(0.02)
    mlflow_server.kill()
    tuning.join(timeout=300)
    stderr = (project / "err").read_text()
    assert tuning.exitcode == 0, stderr
    assert "MLflow does not answer" in stderr
    assert "when the server is back, run: decant deliver" in stderr
    mlflow_server.start()
    done = run_fork(["cli", "deliver"], project, env)
    assert done.out.endswith("nothing is pending\n"), done.err
    mlflow.set_tracking_uri(mlflow_server.uri)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("decant").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert {name: run.info.status for name, run in runs.items() if name in TUNING} == {
        "fine-tune": "FINISHED",
        "fine-tune control": "FINISHED",
    }
    for name, epochs, model in (("fine-tune", 10, "teacher"), ("fine-tune control", 2, "control")):
        run = runs[name]
        losses = client.get_metric_history(run.info.run_id, "train/loss")
        assert len(losses) == len({m.step for m in losses}) == epochs
        logged = client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'")
        assert [(entry.name, str(entry.status)) for entry in logged] == [(model, "READY")]
        assert "decant.delivered_late" in run.data.tags
    assert not [f for f in (project / outbox.OUTBOX).iterdir() if f.is_dir()]
