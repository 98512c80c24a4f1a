"""Invocations that are killed at each call of MLflow: the next one continues them, and logs everything once."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pytest

from decant.core import processes
from decant.tracking import events, outbox, run_ids, runs, store
from decant.tracking.store import PARENT_TAG

WRITES = ("create_run", "log_batch", "update_run", "set_terminated", "set_tag", "log_artifact", "log_inputs")
CONFIG = {"use": {"data": "d", "teacher": "t", "student": "s", "loss": "kd"}, "trainer": {"accelerator": "cpu"}}
BOTH = ("distill", "evaluate")


class Killed(BaseException):
    """This process was killed; it writes nothing any more."""


class Lives:
    """The pipeline in a folder of its own, in one process after the other, each of which may be killed."""

    def __init__(self, patch: pytest.MonkeyPatch, stages: tuple[str, ...]) -> None:
        self.patch, self.stages, self.count = patch, stages, 0
        self.in_experiment = "DECANT_INVOCATION" in os.environ
        self.complete: set[str] = set()
        """Stages whose outputs DVC has recorded."""

    def run(self, calls: int | None = None, effective: bool = False) -> int:
        """Run the pipeline, and kill it at the MLflow call after `calls` others; return the number of calls.

        `effective`: the call reaches the store, and only its answer is lost.
        """
        self.count += 1
        life, made = str(self.count), 0
        self.patch.setattr(processes, "_start", lambda pid: life)
        self.patch.setattr(run_ids, "_assigned", {})
        self.patch.setattr(events, "_logged", {})
        outbox._outbox.cache_clear()

        def counted(write: Any) -> Any:
            def call(self: mlflow.MlflowClient, *arguments: Any, **options: Any) -> Any:
                nonlocal made
                made += 1
                if calls is None or made <= calls:
                    return write(self, *arguments, **options)
                if effective and made == calls + 1:
                    write(self, *arguments, **options)
                raise Killed

            return call

        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            for name in WRITES:
                patch.setattr(mlflow.MlflowClient, name, counted(getattr(mlflow.MlflowClient, name)))
            for name in self.stages:
                if name not in self.complete:
                    run_stage(name)
                    self.complete.add(name)
            if self.in_experiment:
                end_experiment()
        return made

    def check(self) -> None:
        found = store.find()
        nested = [name for stage in self.stages for name in (stage, f"{stage} control")]
        assert sorted(run.info.run_name for run in found) == ["d: t > s, kd", *sorted(nested)]
        assert {run.info.status for run in found} == {"FINISHED"}
        (parent,) = [run for run in found if PARENT_TAG not in run.data.tags]
        assert parent.data.metrics == {"linear/accuracy": 0.5}
        parents = Counter(run.data.tags.get(PARENT_TAG) for run in found)
        assert parents[parent.info.run_id] == len(self.stages)
        client = mlflow.MlflowClient()
        for run in found:
            for name in run.data.metrics:
                history = client.get_metric_history(run.info.run_id, name)
                assert [point.step for point in history] == ([0, 1] if run.info.run_name in self.stages else [0])
        assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["report.md"]


def run_stage(name: str) -> None:
    folder = Path("data", name)
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("metrics.json", "report.md"):
        (folder / file).write_text(name)
    with runs.stage(name, CONFIG, Path(".state") / name / "fingerprint") as run:
        for step in (0, 1):
            run.log_metrics({"loss": 1.0 - step}, step)
        with run.child(f"{name} control") as child:
            child.log_metrics({"loss": 0.5}, 0)
        if name == "evaluate":
            run.parent.log_metrics({"linear/accuracy": 0.5})
            run.parent.log_artifact(folder / "report.md")


def end_experiment() -> None:
    """What `decant experiment` logs after the stages."""
    outbox.start()
    with runs.parent(CONFIG) as run:
        run.log_metrics({"linear/accuracy": 0.5})
        run.log_artifact(Path("data/evaluate/report.md"))


@pytest.fixture
def lives(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes folders with an experiment of their own, in one store."""
    monkeypatch.delenv("DECANT_INVOCATION")
    monkeypatch.setenv("DVC_STAGE", "distill")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workdir}/mlflow.db")
    monkeypatch.setattr(runs.provenance, "run_tags", lambda: {"hardware": "1 core"})
    monkeypatch.setattr(runs.provenance, "environment", lambda trainer: {})

    def create(name: str, stages: tuple[str, ...] = BOTH) -> Lives:
        (workdir / name).mkdir()
        monkeypatch.chdir(workdir / name)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
        return Lives(monkeypatch, stages)

    yield create
    outbox._outbox.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stages", "effective"),
    [
        (("evaluate",), True),
        pytest.param(BOTH, True, marks=pytest.mark.nightly),
        pytest.param(BOTH, False, marks=pytest.mark.nightly),
    ],
)
def test_an_invocation_that_is_killed_at_any_call_is_continued_in_the_same_runs(
    lives: Any, stages: tuple[str, ...], effective: bool
) -> None:
    calls = lives("whole", stages).run()
    assert calls > 12
    for number in range(calls):
        killed = lives(f"killed after {number}", stages)
        killed.run(number, effective)
        killed.run()
        killed.check()


@pytest.mark.slow
@pytest.mark.parametrize("in_experiment", [False, True])
def test_an_invocation_that_is_killed_again_and_again_is_one_invocation(
    lives: Any, in_experiment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_experiment:
        monkeypatch.setenv("DECANT_INVOCATION", "kept in the worktree")
    often = lives("often")
    calls = 0
    while often.run(calls, effective=calls % 2 == 0) > calls:
        calls += 3
    assert often.count > 4
    often.check()
