import itertools
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from support.commands import run_fork

from decant.tracking import invocations, outbox, outputs, runs, store
from decant.tracking.runs import Run


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


def fail(name: str, config: dict[str, Any]) -> None:
    with pytest.raises(ZeroDivisionError), stage(name, config):
        1 / 0  # noqa: B018


def test_a_stage_that_fails_leaves_no_run_running(workdir: Path, config: Any) -> None:
    fail("distill", config)
    assert {r.info.status for r in store.find("")} == {"FAILED"}


def test_a_stage_by_hand_that_fails_is_no_experiment_and_describes_no_output_of_another(
    workdir: Path, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_outputs(workdir, "prepare", "distill", "evaluate")
    with stage("prepare", config):
        pass
    start_by_hand(monkeypatch)
    for name in ("distill", "prepare"):
        fail(name, config)
    prepared, distilled = store.find("tags.`decant.invocation` != ''", {"decant.by_hand": "True"})
    assert prepared.info.run_name == f"prepare by hand: {runs.title(config)}"
    assert distilled.info.run_name == f"distill by hand: {runs.title(config)}"
    for run in (prepared, distilled):
        assert run.data.tags["mlflow.note.content"] == "No stage has ended well."
        assert not [tag for tag in run.data.tags if tag.startswith("produced_by")]
    assert prepared.data.tags["data.digest"] == "none"
    assert distilled.data.tags["data.digest"] == outputs.digests()["prepare"]  # what it read


def test_a_stage_of_a_pipeline_that_fails_describes_its_inputs_alone(workdir: Path, config: Any) -> None:
    write_outputs(workdir, "prepare", "distill", "evaluate")
    for name in ("prepare", "distill", "evaluate"):
        with stage(name, config):
            pass
    fail("distill", config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECANT_INVOCATION", "another")
        fail("distill", config)
    note = store.find(tags={"decant.invocation": "another"})[0].data.tags["mlflow.note.content"]
    assert "| prepare |" in note
    assert "restored" in note
    assert "distill" not in note
    assert "evaluate" not in note


def start_by_hand(patch: pytest.MonkeyPatch) -> None:
    """Let each stage seem to be a process of its own, which ends with it."""
    numbers = itertools.count()
    patch.delenv("DECANT_INVOCATION")
    patch.setattr(runs, "process_id", lambda _: f"process {next(numbers)}")
    patch.setattr(invocations, "is_alive", lambda _: False)


def write_outputs(workdir: Path, *stages: str) -> None:
    for name in stages:
        (workdir / "data" / name).mkdir(parents=True)
        (workdir / "data" / name / "metrics.json").write_text(name)


def test_a_stage_by_hand_that_is_run_again_after_a_failure_continues_its_run(
    workdir: Path, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_outputs(workdir, "distill")
    start_by_hand(monkeypatch)
    fail("distill", config)
    with stage("distill", config) as run:
        pass
    assert [r.info.status for r in store.find()] == ["FINISHED", "FINISHED"]
    note = mlflow.get_run(run.parent.run_id).data.tags["mlflow.note.content"]
    assert "| distill | [distill]" in note
    assert "restored" not in note
    with stage("distill", config):
        pass
    assert len(store.find()) == 4  # that one ended well: this is another


def test_what_no_store_can_encode_is_logged_escaped_and_never_taken_for_an_outage(
    workdir: Path, config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    store.connect()
    with runs.open_run("run \udcff", {"label": "\udcff\0"}) as run_id:
        Run(run_id).log_params({"labels": ["a\udcff"]})
    (run,) = store.find()
    assert (run.info.run_name, run.data.tags["label"]) == ("run \\udcff", "\\udcff\\0")
    assert run.data.params["labels"] == "['a\\udcff']"
    assert "unavailable" not in capsys.readouterr().err


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


def test_a_name_that_mlflow_refuses_is_logged_with_underscores(workdir: Path) -> None:
    store.connect()
    with runs.open_run("run", {}) as run_id:
        Run(run_id).log_params({"classes": {"it's": 1, "../up": 2, "a\nb": 3, "": 4, "ü 1": 5}})
    assert mlflow.get_run(run_id).data.params == {
        "classes.it_s": "1", "classes..._up": "2", "classes.a_b": "3", "classes.": "4", "classes.ü 1": "5"
    }  # fmt: skip
