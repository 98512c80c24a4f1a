"""Stages that are killed at a random moment, as benchmarks/kill.py does it at length."""

import os
import subprocess
import sys
from pathlib import Path

import kill
import psutil
import pytest
from support.paths import ROOT

pytestmark = pytest.mark.slow


def test_killed_stages_go_on_and_end_with_the_same_bytes(tmp_path: Path) -> None:
    reference = kill.clone(tmp_path / "reference", kill.SMALL)
    assert kill.start_repro(reference).wait() == 0, (reference / "log.txt").read_text()
    seconds = kill.stage_seconds(reference)
    latest = {stage: 0.8 * seconds[stage] + kill.IMPORT_SECONDS for stage in ("fine_tune", "distill")}
    _, killed, _, outputs, runs = kill.run_round(tmp_path / "killed", kill.SMALL, reference, latest, seed=1)
    log = (tmp_path / "killed/log.txt").read_text()
    assert killed, (
        log
    )  # how far a stage was by then depends on the machine; training/test_checkpoint.py says what goes on
    assert (outputs, runs) == ("byte-equal", "complete"), (killed, log)


def test_a_stage_ends_with_dvc_even_where_what_it_is_in_swallows_that(tmp_path: Path) -> None:
    deaf = (
        "import signal, subprocess, time, psutil; from decant.core import stage\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "stage.GRACE_SECONDS = 0.5\n"
        "stage.end_with(psutil.Process(subprocess.Popen(['sleep', '0.1']).pid))\n"
        "def busy(): time.sleep(600)\n"
        "busy()\n"
    )
    done = subprocess.run([sys.executable, "-c", deaf], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "in busy" in done.stderr


def test_a_stage_whose_dvc_died_while_it_was_importing_does_no_work(project: Path) -> None:
    def left(**variables: str) -> str:
        """What a stage says that whoever started it has left."""
        words = f"{sys.executable} -m decant.prepare use.data=toy > log.txt 2>&1 & echo $!"
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **variables}
        started = subprocess.run(["sh", "-c", words], cwd=project, env=env, capture_output=True, check=True)
        psutil.wait_procs([psutil.Process(int(started.stdout))], timeout=120)
        return (project / "log.txt").read_text()

    assert "DVC, which started this stage, is gone" in left(DVC_STAGE="prepare")
    assert not (project / "data/prepare").exists()
    assert "gone" not in left()  # by hand, and left: it goes on
    assert (project / "data/prepare").exists()
