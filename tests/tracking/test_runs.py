import hashlib
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from support.paths import ROOT

from decant.config import compose
from decant.core.errors import UserError
from decant.core.hashing import digest
from decant.tracking import outbox, store
from decant.tracking.runs import flatten, parent, stage


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, in which no store is made yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DECANT_INVOCATION", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def cfg():
    return compose.load(["use.data=toy", "trainer=cpu"], ROOT)


@pytest.mark.parametrize("uri", ["file:./mlruns", "mlruns", "sqlite:///mlflow.db"])
def test_stores_that_lose_runs_are_refused(place: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"MLflow no longer writes to folders. Expected an absolute"):
        store.connect()


def test_a_server_that_does_not_answer_is_named_at_once_and_without_its_password(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"no MLflow server answers at http://127.0.0.1:9") as caught:
        store.connect()
    assert "secret" not in str(caught.value)


def test_a_database_that_cannot_be_made_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "blocked").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/blocked/mlflow.db")
    with pytest.raises(UserError, match="cannot be used"):
        store.connect()


def test_stages_of_one_invocation_share_a_parent_that_holds_the_config(place: Path, cfg) -> None:
    for name in ("prepare", "distill"):
        (place / "data" / name).mkdir(parents=True)
        (place / "data" / name / "a").write_text(name)
        with stage(name, cfg) as run:
            run.metrics({"loss": 1.0}, 3)
            run.parent.metrics({"student/accuracy": 0.5})
    parents = store.find("tags.`decant.invocation` != ''")
    children = store.find(f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'")
    assert len(parents) == 1
    assert sorted(r.info.run_name for r in children) == ["distill", "prepare"]
    assert {r.info.status for r in [*parents, *children]} == {"FINISHED"}
    assert parents[0].data.params["loss.temperature"] == "4.0"
    assert parents[0].data.tags["made.prepare"] == children[1].info.run_id
    assert {"hardware", "threads", "versions", "git.commit", "data.digest"} <= set(parents[0].data.tags)


def test_the_name_that_stages_know_the_experiment_by_stays(place: Path, cfg, monkeypatch: pytest.MonkeyPatch) -> None:
    store.connect()
    for name in ("bold-name", ""):  # a stage, then make experiment, to which DVC does not tell it
        monkeypatch.setenv("DVC_EXP_NAME", name)
        with parent(cfg):
            pass
    (whole,) = store.find("tags.`decant.invocation` != ''")
    assert whole.data.tags["dvc.experiment"] == "bold-name"


def test_output_made_by_an_earlier_invocation_is_linked_as_restored(
    place: Path, cfg, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "data/prepare").mkdir(parents=True)
    (place / "data/prepare/a").write_text("same")
    with stage("prepare", cfg):
        pass
    monkeypatch.setenv("DECANT_INVOCATION", "another")
    with parent(cfg) as run:
        pass
    note = mlflow.get_run(run.run_id).data.tags["mlflow.note.content"]
    assert "| prepare | [prepare](#/experiments/" in note
    assert "restored" in note


def test_a_stage_that_fails_leaves_no_run_running(place: Path, cfg) -> None:
    with pytest.raises(ZeroDivisionError), stage("distill", cfg):
        1 / 0  # noqa: B018
    assert {r.info.status for r in store.find("")} == {"FAILED"}


def test_a_stage_that_was_killed_is_closed_by_the_next(place: Path, cfg) -> None:
    script = (
        "import os, signal, sys\n"
        "from decant.config import compose\nfrom decant.tracking import runs\n"
        "from pathlib import Path\n"
        "with runs.stage('distill', compose.load(['trainer=cpu'], Path(sys.argv[1]))):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)],
        env={**os.environ, "DECANT_INVOCATION": "killed", "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == -9
    outbox.ready()
    assert {r.info.status for r in store.find("")} == {"KILLED"}


def test_an_mlflow_run_id_from_outside_does_not_take_over(place: Path, cfg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with stage("prepare", cfg) as run:
        assert run.run_id != run.parent.run_id


def test_ranks_above_zero_log_nothing(place: Path, cfg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with stage("distill", cfg) as run, run.child("control") as child:
        run.metrics({"a": 1.0})
        child.artifact(place)
    assert not (place / "mlflow.db").exists()


def test_a_digest_is_of_names_and_content(place: Path) -> None:
    (place / "b/c").mkdir(parents=True)
    (place / "b/c/file").write_bytes(b"x")
    wanted = hashlib.sha256(b"c/file\0" + hashlib.sha256(b"x").digest()).hexdigest()
    assert digest(place / "b") == wanted


def test_a_config_is_flat_with_dots() -> None:
    assert flatten({"a": {"b": 1, "c": [2]}, "d": None}) == {"a.b": "1", "a.c": "[2]", "d": "None"}
