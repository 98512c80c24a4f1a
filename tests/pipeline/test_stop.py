"""Experiments that are stopped by a signal."""

import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from support.clones import commit, edit_yaml, environment, mlflow_runs, run_in
from support.commands import start_fork

pytestmark = pytest.mark.slow
ENDLESS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # as a stage does
print("epoch 2/1000", flush=True)
time.sleep(600)
"""
"""A stage that trains for long."""


def start_experiment(clone: Path, logs: Path, ignored: tuple[signal.Signals, ...] = ()) -> BaseProcess:
    """`decant experiment`, whose fine-tune stage has trained an epoch, in a folder with a file of the user."""
    (clone / "mine.txt").write_text("a file of the user")
    command = ["cli", "experiment", "-S", "fine_tune.epochs=1000"]
    process = start_fork(command, clone, environment(clone), logs, ignored)
    deadline = time.monotonic() + 300
    while "epoch 2/1000" not in (logs / "out").read_text():
        assert process.is_alive(), (logs / "err").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return process


def check_stopped(process: BaseProcess, clone: Path, branch: str) -> None:
    process.join(60)
    assert process.exitcode
    assert run_in(clone, "git", "symbolic-ref", "HEAD").stdout == branch
    assert run_in(clone, "git", "diff", "--cached", "--quiet").returncode == 0
    assert "?? mine.txt" in run_in(clone, "git", "status", "--short").stdout
    assert process.pid is not None
    with pytest.raises(ProcessLookupError):  # no process of its group is left
        os.killpg(process.pid, 0)


@pytest.fixture
def branch(copied_clone: Path) -> str:
    return run_in(copied_clone, "git", "symbolic-ref", "HEAD").stdout


def test_ctrl_c_stops_an_experiment_and_leaves_git_as_it_was(copied_clone: Path, branch: str, tmp_path: Path) -> None:
    process = start_experiment(copied_clone, tmp_path)
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: make, decant, DVC and the stage get it
    check_stopped(process, copied_clone, branch)
    assert {run.info.status for run in mlflow_runs(copied_clone)} <= {"FINISHED", "KILLED", "FAILED"}


@pytest.mark.parametrize("way", ["to it alone", "to it alone, in the background", "to all"])
def test_sigterm_stops_an_experiment_and_leaves_git_as_it_was(
    way: str, copied_clone: Path, branch: str, tmp_path: Path
) -> None:
    (copied_clone / "endless.py").write_text(ENDLESS)
    edit_yaml(copied_clone / "dvc.yaml", lambda dvc: dvc["stages"]["fine-tune"].update(cmd="python endless.py"))
    commit(copied_clone)
    process = start_experiment(copied_clone, tmp_path, (signal.SIGINT,) if "background" in way else ())
    assert process.pid is not None
    if way == "to all":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        os.kill(process.pid, signal.SIGTERM)
    check_stopped(process, copied_clone, branch)
