"""A child process that ends in its own way after Ctrl-C, and does not outlive this one."""

import ctypes
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent dies."""


def wait_for(
    command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None, inherited: Sequence[int] = ()
) -> int:
    """Run a command to its end, and return its exit code; Ctrl-C is left to the command.

    DVC has to close its files, and `subprocess.run` would kill it a quarter of a second after Ctrl-C. SIGTERM, at
    which DVC would not close them, is turned into Ctrl-C. When this process is killed, the command is, too.

    Args:
        command: a program and its arguments.
        cwd: its working directory.
        env: its environment.
        inherited: file descriptors that it keeps open.

    Raises:
        KeyboardInterrupt: afterwards, if the command failed after a signal.
    """
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    background = handlers[signal.SIGINT] == signal.SIG_IGN  # then DVC and its stages ignore Ctrl-C, too
    for number in (signal.SIGTERM,) if background else handlers:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        process = subprocess.Popen(command, cwd=cwd, env=env, pass_fds=inherited, preexec_fn=_preparation(os.getpid()))
        code = _wait_and_forward(process, received, signal.SIGTERM if background else signal.SIGINT)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if code and received:
        raise KeyboardInterrupt
    return code


def _preparation(parent: int) -> Callable[[], None]:
    """What the child of `parent` does before it becomes the command."""
    prctl = ctypes.CDLL(None).prctl if platform.system() == "Linux" else None  # loaded here: not after the fork

    def prepare() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if prctl:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the call
                os._exit(1)

    return prepare


def _wait_and_forward(process: subprocess.Popen[bytes], received: Sequence[int], forward: signal.Signals) -> int:
    """Wait for a process; when SIGTERM was received, signal all processes below this one with `forward`."""
    code, forwarded = None, False
    while code is None:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(1)
        if signal.SIGTERM in received and not forwarded:
            _signal_descendants(forward)
            # DVC takes a second Ctrl-C as a demand to stop at once; SIGTERM is repeated for stages that began just now
            forwarded = forward == signal.SIGINT
    return code


def _signal_descendants(number: int) -> None:
    """Send a signal to all processes below this one."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
