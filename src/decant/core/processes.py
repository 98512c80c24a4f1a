"""Processes: the rank of this one, the DVC process that started it, and whether another is alive."""

import os
import platform
from pathlib import Path

import psutil

SHELLS = ("sh", "bash", "dash", "zsh")
"""What DVC starts a stage by."""


def rank() -> int:
    """0 for the one process, among those that train together, that writes and logs.

    From the variables that launchers set, as Lightning reads them; importing Lightning takes seconds.
    """
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    number = next((int(os.environ[name]) for name in names if name in os.environ), 0)
    return number or int(os.environ.get("NODE_RANK", 0))


def owner() -> dict[str, str]:
    """Tag with the process that a run belongs to."""
    me = psutil.Process()
    return {"decant.process": f"{platform.node()} {me.pid} {me.create_time()}"}


def alive(pid: int, started: float) -> bool:
    """Whether a process of this machine, and no later one of its number, still runs."""
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1
    except psutil.NoSuchProcess:
        return False


def dvc() -> psutil.Process | None:
    """The DVC process that this one is a stage of; None: it was started by hand."""
    above = psutil.Process().parents() if "DVC_STAGE" in os.environ else []
    return next((p for p in above if any(Path(word).name.startswith("dvc") for word in words(p)[:3])), None)


def orphaned() -> bool:
    """Whether DVC started this process, and was killed while it was still importing: at most a shell is left above."""
    if "DVC_STAGE" not in os.environ or dvc():
        return False
    above = [p for p in psutil.Process().parents() if Path(next(iter(words(p)), "sh")).name not in SHELLS]
    # a script may be the first process of a container, and use DVC as a library
    return not above or ((above[0].pid == 1 or above[0].name() == "systemd") and "python" not in above[0].name())


def words(process: psutil.Process) -> list[str]:
    """Its command line; empty: it is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
