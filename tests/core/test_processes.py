import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from decant.core import processes
from decant.core.processes import argv, dvc_process, is_alive, is_orphaned, process_id, rank

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "NODE_RANK")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"RANK": "0", "LOCAL_RANK": "1"}, 0),
        ({"SLURM_PROCID": "3"}, 3),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, 1),
    ],
)
def test_the_rank_is_that_of_the_launcher(
    variables: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert rank() == expected


def test_a_process_is_alive_until_it_ends_and_a_later_one_with_its_number_is_another() -> None:
    process = subprocess.Popen(["sleep", "60"])
    identity = process_id(process.pid)
    assert is_alive(identity) is True
    assert is_alive(f"{identity}0") is False
    process.kill()
    while is_alive(identity):  # the kernel ends it; its parent has not asked for it yet
        time.sleep(0.001)
    process.wait()
    assert is_alive(identity) is False


def test_this_process_lives_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    identity, uptime = process_id(), processes.uptime()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: 1.0)  # psutil adds the time of boot, by the clock
    monkeypatch.setattr(psutil, "boot_time", lambda: 1.0)
    monkeypatch.setattr(time, "time", lambda: 1.0)
    assert process_id() == identity
    assert is_alive(identity) is True
    assert uptime <= processes.uptime() < uptime + 60


@pytest.mark.parametrize("place", ["node", "boot_id", "_pid_namespace"])
def test_of_a_process_elsewhere_it_is_not_known_whether_it_lives(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = process_id()
    monkeypatch.setattr(processes.platform if place == "node" else processes, place, lambda: "elsewhere")
    assert is_alive(here) is None
    assert is_alive(process_id()) is True


@pytest.mark.parametrize("text", ["", "?", "host 1 1.0", "a b c d e", "a b c d e f"])
def test_of_what_is_no_id_of_a_process_nothing_is_known(text: str) -> None:
    assert is_alive(text) is None


def test_without_proc_a_process_is_told_by_what_psutil_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert process_id().split()[2:] == ["-", str(os.getpid()), str(psutil.Process().create_time())]
    assert is_alive(process_id()) is True


def test_the_command_line_of_a_process_that_ended_is_empty() -> None:
    process = subprocess.Popen(["sleep", "60"])
    ended = psutil.Process(process.pid)
    process.kill()
    process.wait()
    assert argv(ended) == []
    assert argv(psutil.Process()) != []


class Parent:
    """A stand-in for a process."""

    def __init__(self, *words: str, pid: int = 100) -> None:
        self.words, self.pid = list(words), pid

    def cmdline(self) -> list[str]:
        return self.words

    def name(self) -> str:
        return Path(self.words[0]).name


DVC = Parent("/venv/bin/python", "/venv/bin/dvc", "repro")
SHELL = Parent("/bin/sh", "-c", "python -m decant.prepare")


def put_below(monkeypatch: pytest.MonkeyPatch, *parents: Parent, stage: str = "prepare") -> None:
    """Make `parents`, the nearest first, those of this process, a stage of DVC."""
    monkeypatch.setattr(processes.psutil.Process, "parents", lambda _: list(parents))
    if stage:
        monkeypatch.setenv("DVC_STAGE", stage)
    else:
        monkeypatch.delenv("DVC_STAGE", raising=False)


def test_the_dvc_process_is_found_above_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    put_below(monkeypatch, SHELL, DVC, Parent("/bin/bash"))
    assert dvc_process() is DVC
    assert not is_orphaned()


def test_a_command_that_was_started_by_hand_has_no_dvc_process(monkeypatch: pytest.MonkeyPatch) -> None:
    put_below(monkeypatch, SHELL, DVC, stage="")
    assert dvc_process() is None
    assert not is_orphaned()


@pytest.mark.parametrize(
    ("parents", "orphaned"),
    [
        ([], True),
        ([SHELL], True),
        ([SHELL, Parent("/sbin/init", pid=1)], True),
        ([SHELL, Parent("/usr/lib/systemd/systemd", pid=700)], True),
        ([SHELL, Parent("/usr/bin/python3", "run.py", pid=1)], False),  # a script that uses DVC as a library
        ([SHELL, Parent("/usr/bin/python3", "run.py")], False),
    ],
)
def test_a_stage_whose_dvc_was_killed_is_an_orphan(
    parents: list[Parent], orphaned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_below(monkeypatch, *parents)
    assert is_orphaned() == orphaned
