"""Processes: the rank of this one, the DVC process that started it, and whether another is alive."""

import os
import platform
from pathlib import Path

import psutil

SHELLS = ("sh", "bash", "dash", "zsh")
"""The programs through which DVC starts a stage."""


def rank() -> int:
    """0 for the one process, among those that train together, that writes and logs.

    From the variables that launchers set, as Lightning reads them; importing Lightning takes seconds.
    """
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    number = next((int(os.environ[name]) for name in names if name in os.environ), 0)
    return number or int(os.environ.get("NODE_RANK", 0))


def process_id() -> str:
    """Host, pid and start time: identifies this process among all that ever ran."""
    process = psutil.Process()
    return f"{platform.node()} {process.pid} {process.create_time()}"


def is_alive(pid: int, started: float) -> bool:
    """Whether a process of this machine, and not a later one with the same pid, still runs."""
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1
    except psutil.NoSuchProcess:
        return False


def dvc_process() -> psutil.Process | None:
    """The DVC process that this one is a stage of; None: it was started by hand."""
    parents = psutil.Process().parents() if "DVC_STAGE" in os.environ else []
    return next((p for p in parents if any(Path(word).name.startswith("dvc") for word in argv(p)[:3])), None)


def is_orphaned() -> bool:
    """Whether DVC started this process and was killed during its imports: at most a shell is left as parent."""
    if "DVC_STAGE" not in os.environ or dvc_process():
        return False
    parents = [p for p in psutil.Process().parents() if Path(next(iter(argv(p)), "sh")).name not in SHELLS]
    if not parents:
        return True
    # a script may be the first process of a container, and use DVC as a library
    is_init = parents[0].pid == 1 or parents[0].name() == "systemd"
    return is_init and "python" not in parents[0].name()


def argv(process: psutil.Process) -> list[str]:
    """The command line of a process; empty: it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
