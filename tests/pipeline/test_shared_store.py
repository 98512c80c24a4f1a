"""Many pipelines that start at the same time on one fresh SQLite store."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import kill
import mlflow
import pytest
import yaml
from support.commands import start_fork
from support.paths import ROOT

from decant.core.resume import UPSTREAM
from decant.tracking import outbox

TINY = ["use.data=toy", *(f"use.{role}=tiny" for role in ("teacher", "student", "scratch"))]
PIPELINES = int(os.environ.get("DECANT_PIPELINES", "2"))


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, pytest.param(16, marks=pytest.mark.nightly)])
def test_pipelines_begin_at_once_on_one_fresh_store(count: int, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    started = []
    for number in range(count):
        folder = tmp_path / str(number)
        (folder / "data").mkdir(parents=True)
        (folder / "conf").symlink_to(ROOT / "conf")
        (folder / "data/raw").symlink_to(ROOT / "data/raw")
        shutil.copy(ROOT / "params.yaml", folder)
        words = ["prepare", "use.data=toy", f"seed={number}"]
        started.append(start_fork(words, folder, {"MLFLOW_TRACKING_URI": store}))
    for process in started:
        process.join()
    stderr = [(tmp_path / str(number) / "err").read_text() for number in range(count)]
    assert {process.exitcode for process in started} == {0}, stderr
    client = mlflow.MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "decant"]
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    stages = [run for run in runs if run.info.run_name == "prepare"]
    assert sorted(int(run.data.params["seed"]) for run in stages) == list(range(count))
    assert {run.data.tags["mlflow.parentRunId"] for run in stages} == {r.info.run_id for r in runs if r not in stages}
    assert all(len(run.inputs.dataset_inputs) == 4 and "decant.digest" in run.data.tags for run in stages)


@pytest.mark.slow
@pytest.mark.nightly
def test_whole_pipelines_at_once_on_one_fresh_store_lose_nothing(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    quick = [f"{stage}.{epochs}=1" for stage in ("fine_tune", "distill") for epochs in ("epochs", "control_epochs")]
    folders = [kill.clone(tmp_path / str(n), [*TINY, *quick, f"seed={n}"]) for n in range(PIPELINES)]
    started = [kill.start_repro(folder, store) for folder in folders]
    failed = [folder for folder, pipeline in zip(folders, started, strict=True) if pipeline.wait()]
    assert not failed, (failed[0] / "log.txt").read_text()
    client = mlflow.MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("decant").experiment_id], max_results=50_000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert sorted(int(run.data.params["seed"]) for run in parents) == list(range(PIPELINES))
    children = Counter(
        (r.data.tags["mlflow.parentRunId"], r.data.tags.get("decant.stage")) for r in runs if r not in parents
    )
    assert all(children[run.info.run_id, stage] == 1 for run in parents for stage in UPSTREAM)
    for folder in folders:
        seed = str(yaml.safe_load((folder / "params.yaml").read_text())["seed"])
        (parent,) = [run for run in parents if run.data.params["seed"] == seed]
        metrics = json.loads((folder / "data/evaluate/metrics.json").read_text())
        assert parent.data.metrics["student/accuracy"] == metrics["student"]["accuracy"]
        assert not list((folder / outbox.OUTBOX).glob("*"))  # nothing is pending, nothing was refused
