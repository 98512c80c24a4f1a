import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from support.commands import run_fork

from decant.tracking import outbox, runs, store
from decant.tracking.runs import Run, flatten


def stage(name: str, config: dict[str, Any]) -> AbstractContextManager[Run]:
    return runs.stage(name, config, Path(".state") / name / "fingerprint")


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


@pytest.mark.slow
def test_a_stage_that_was_killed_is_closed_by_the_next(workdir: Path, config: Any) -> None:
    script = (
        "import json, os, signal, sys\n"
        "from pathlib import Path\n"
        "from decant.tracking import runs\n"
        "with runs.stage('distill', json.loads(sys.argv[1]), Path('.state/distill/fingerprint')):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = run_fork(["-c", script, json.dumps(config)], workdir, {"DECANT_INVOCATION": "killed"})
    assert done.code == -9, done.err
    outbox.start()
    assert {r.info.status for r in store.find("")} == {"KILLED"}


def test_an_mlflow_run_id_from_outside_does_not_take_over(
    workdir: Path, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with stage("prepare", config) as run:
        assert run.run_id != run.parent.run_id


def test_ranks_above_zero_log_nothing(empty_workdir: Path, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with stage("distill", config) as run, run.child("control") as child:
        run.log_metrics({"a": 1.0})
        child.log_artifact(empty_workdir)
    assert not (empty_workdir / "mlflow.db").exists()


def test_a_config_is_flat_with_dots() -> None:
    assert flatten({"a": {"b": 1, "c": [2]}, "d": None}) == {"a.b": "1", "a.c": "[2]", "d": "None"}
