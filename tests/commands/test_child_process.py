import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from decant.commands.child_process import wait_for


@pytest.mark.parametrize(("handler", "expected"), [(signal.SIG_IGN, 0), (signal.default_int_handler, 1)])
def test_ctrl_c_reaches_the_command_unless_the_job_runs_in_the_background(
    handler: signal.Handlers, expected: int
) -> None:
    """A job in the background ignores it, and so does what it starts."""
    script = "import signal, sys; sys.exit(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)"
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert wait_for([sys.executable, "-c", script]) == expected
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_command_has_the_folder_the_variables_and_the_file_it_was_given(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        script = f"import os; os.write({file.fileno()}, (os.getcwd() + os.environ['A']).encode())"
        assert wait_for([sys.executable, "-c", script], tmp_path, {"A": "b"}, [file.fileno()]) == 0
    assert (tmp_path / "file").read_text() == f"{tmp_path}b"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a process that its parent died")
def test_the_command_dies_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom decant.commands.child_process import wait_for\n"
        "wait_for(['sh', '-c', 'echo $$ > pid; exec sleep 60'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(500):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} lives on")
