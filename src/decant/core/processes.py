"""Processes: the rank of this one, the DVC process that started it, and whether another is alive."""

import os
import platform
import time
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


def process_id(pid: int | None = None) -> str:
    """Host, boot, PID namespace, pid and start of a process, by default this one: tells it from all that ever ran.

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    pid = pid or os.getpid()
    return f"{platform.node() or '-'} {boot_id()} {_pid_namespace()} {pid} {_start(pid)}"


def is_alive(process: str) -> bool | None:
    """Whether a process, by its `process_id`, still runs; None: that cannot be known from here.

    A container may have the host name of another one, and its own processes of the same numbers.
    """
    words = process.split()
    if len(words) != len(process_id().split()) or words[:3] != process_id().split()[:3] or not words[3].isdecimal():
        return None
    try:
        return process_id(int(words[3])) == process
    except psutil.NoSuchProcess:
        return False


def boot_id() -> str:
    """Identifies the kernel that runs, from its start to the next one."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else f"{psutil.boot_time():.0f}"


def uptime() -> float:
    """Seconds since the kernel started, also those of a suspended machine; no step of the clock changes it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _pid_namespace() -> str:
    link = Path("/proc/self/ns/pid")
    return str(link.readlink()) if link.exists() else "-"


def _start(pid: int) -> str:
    """When a process started; on Linux in ticks since the kernel's start, which no step of the clock changes."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return str(psutil.Process(pid).create_time())
    if state == "Z":  # it has ended, and its parent does not know yet
        raise psutil.NoSuchProcess(pid)
    return fields[18]


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
