"""Stages that are killed in the middle of a training; benchmarks/kill.py kills them at random moments, at length."""

import shutil
import time
from pathlib import Path

import kill
import pytest
from support.clones import edit_yaml, environment
from support.commands import run_fork
from support.stores import copy_store

pytestmark = pytest.mark.slow


def saved_states(clone: Path) -> set[Path]:
    return set((clone / ".state/distill").rglob("*.ckpt"))


def kill_in_training(clone: Path, method: str) -> None:
    """Start `dvc repro`, and kill distill as soon as it has trained and saved a state."""
    before, pipeline = saved_states(clone), kill.start_repro(clone)
    while not saved_states(clone) - before:
        assert pipeline.poll() is None, (clone / "log.txt").read_text()
        time.sleep(0.02)
    (process,) = kill.stage_processes(pipeline.pid, "distill")
    kill.end(pipeline, process, method)


def test_a_killed_stage_is_resumed_and_ends_with_the_same_bytes(
    clone: Path, copied_clone: Path, empty_mlflow_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("data/distill", "data/evaluate", ".dvc/cache", "mlartifacts"):
        shutil.rmtree(copied_clone / folder)
    copy_store(empty_mlflow_store, copied_clone)
    edit_yaml(copied_clone / "conf/trainer/auto.yaml", lambda trainer: trainer.update(save_minutes=0.005))
    monkeypatch.setenv("PATH", environment(copied_clone)["PATH"])
    for method in ("SIGKILL", "SIGKILL of DVC"):
        kill_in_training(copied_clone, method)
    assert kill.start_repro(copied_clone).wait() == 0, (copied_clone / "log.txt").read_text()
    assert (copied_clone / "log.txt").read_text().count("resuming from") >= 2
    assert kill.output_digests(copied_clone) == kill.output_digests(clone)
    assert kill.check_runs(copied_clone) == kill.COMPLETE


@pytest.mark.nightly
def test_stages_that_are_killed_at_random_moments_end_with_the_same_bytes(tmp_path: Path) -> None:
    reference = kill.clone(tmp_path / "reference", kill.SMALL)
    assert kill.start_repro(reference).wait() == 0, (reference / "log.txt").read_text()
    seconds = kill.stage_seconds(reference)
    latest = {stage: 0.8 * seconds[stage] + kill.IMPORT_SECONDS for stage in ("fine_tune", "distill")}
    result = kill.run_round(tmp_path / "killed", kill.SMALL, reference, latest, seed=1)
    log = (tmp_path / "killed/log.txt").read_text()
    assert result.kills, log
    assert (result.outputs, result.runs) == (kill.EQUAL, kill.COMPLETE), (result.kills, log)


@pytest.mark.parametrize(("variables", "works"), [({"DVC_STAGE": "prepare"}, False), ({}, True)])
def test_a_stage_whose_dvc_died_before_it_started_does_no_work(
    variables: dict[str, str], works: bool, tmp_path: Path
) -> None:
    script = (
        "import os, time\n"
        "from decant.core.stage import stage_process\n"
        "parent = os.getpid()\n"
        "if os.fork():\n"
        "    os._exit(0)\n"
        "while os.getppid() == parent:\n"
        "    time.sleep(0.01)\n"
        "try:\n"
        "    with stage_process('prepare'):\n"
        "        print('work', flush=True)\n"
        "finally:\n"
        "    open('done', 'w').close()\n"
    )
    assert run_fork(["-c", script], tmp_path, variables).code == 0
    for _ in range(500):
        if (tmp_path / "done").exists():
            break
        time.sleep(0.02)
    time.sleep(0.1)
    assert ("work" in (tmp_path / "out").read_text()) == works
    assert ("DVC, which started this stage, is gone" in (tmp_path / "err").read_text()) != works
