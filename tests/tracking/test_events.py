from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from decant.tracking import events, run_ids, runs, store
from decant.tracking.events import LogArtifact, LogModel, SetTags
from decant.tracking.runs import Run


def test_every_kind_of_event_is_read_back_from_json() -> None:
    samples = [
        events.StartRun("run", "distill", {"a": "b"}, 1),
        events.LogMetrics("run", {"loss": 0.1, "nan": float("inf")}, 2, 3),
        events.LogParams("run", {"a.b": "1"}),
        SetTags("run", {"a": "b"}),
        LogArtifact("run", "report.md", "folder"),
        events.LogDataset("run", {"name": "train", "digest": "0"}, "train"),
        LogModel("run", "folder", "student", ["text", b"\x00", {"text": "a", "text_pair": "b"}]),
        events.DescribeInvocation("run", {"prepare": "0"}, True),
        events.EndRun("run", "FINISHED", 4),
    ]
    assert [events.parse(event.to_json()) for event in samples] == samples
    assert [type(event) for event in samples] == [*events.KINDS.values()]


def test_a_second_delivery_changes_nothing(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        events.DescribeInvocation(run_id, {"prepare": "0"}, False),
        events.EndRun(run_id, "FINISHED", 4),
    ):
        event.deliver()
        monkeypatch.setattr(events, "_logged", {})  # as in another process
        event.deliver()
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
    monkeypatch.setattr(events.packaging, "has_model", lambda run_id, name: name in logged)
    monkeypatch.setattr(events.packaging, "log_model", lambda run_id, name, folder, examples: logged.append(name))
    for _ in range(2):
        events.LogModel("run", str(workdir), "student", ["a"]).deliver()
    assert logged == ["student"]


def test_a_metric_is_logged_once_at_a_step_whoever_logs_it(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.connect()
    with runs.open_run("distill", {}) as run_id:
        Run(run_id).log_metrics({"loss": 1.0}, 3)
        Run(run_id).log_metrics({"loss": 2.0, "f1": 0.5}, 3)
        monkeypatch.setattr(events, "_logged", {})  # as in another process
        Run(run_id).log_metrics({"loss": 3.0, "f1": 0.6}, 3)
        Run(run_id).log_metrics({"loss": 0.9}, 4)
    client = mlflow.MlflowClient()
    points = {name: [(m.value, m.step) for m in client.get_metric_history(run_id, name)] for name in ("loss", "f1")}
    assert points == {"loss": [(1.0, 3), (0.9, 4)], "f1": [(0.5, 3)]}


def test_a_metric_that_arrived_although_its_delivery_failed_is_not_logged_again(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.connect()
    client = mlflow.MlflowClient
    log_batch = client.log_batch
    with runs.open_run("distill", {}) as run_id:
        events.LogMetrics(run_id, {"loss": 1.0}, 1, 1).deliver()

        def log_and_lose_the_answer(self: mlflow.MlflowClient, *arguments: Any, **options: Any) -> None:
            log_batch(self, *arguments, **options)
            raise ConnectionError

        monkeypatch.setattr(client, "log_batch", log_and_lose_the_answer)
        with pytest.raises(ConnectionError):
            events.LogMetrics(run_id, {"loss": 0.5}, 2, 2).deliver()
        monkeypatch.setattr(client, "log_batch", log_batch)
        events.LogMetrics(run_id, {"loss": 0.5}, 3, 2).deliver()
    assert [(m.timestamp, m.step) for m in client().get_metric_history(run_id, "loss")] == [(1, 1), (2, 2)]


def test_a_deeply_nested_line_is_no_event() -> None:
    with pytest.raises(ValueError, match="not an event"):
        events.parse("[" * 100_000)
