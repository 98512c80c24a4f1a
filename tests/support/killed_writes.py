"""Processes that are killed while they write a file in place: it is empty then, or ends in the midst."""

from pathlib import Path

SITECUSTOMIZE = '''
import builtins
import os
import signal
from pathlib import Path

PLAN, OPEN = Path(__file__).with_name("plan"), builtins.open


class KilledAtWrite:
    """A file that kills its process, or the whole group, when `count` strings are written to it."""

    def __init__(self, file, count, group):
        self.__dict__ |= {"file": file, "count": count, "group": group}

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, text):
        if self.count == 0:
            self.file.flush()
            PLAN.unlink()
            (os.killpg if self.group else os.kill)(os.getpgid(0) if self.group else os.getpid(), signal.SIGKILL)
        self.__dict__["count"] -= 1
        return self.file.write(text)


def open(file, mode="r", *arguments, **options):
    opened = OPEN(file, mode, *arguments, **options)
    if "w" not in mode or not PLAN.exists():
        return opened
    name, openings, count, whom = PLAN.read_text().split()
    if os.path.basename(str(file)) != name:
        return opened
    if int(openings):
        PLAN.write_text(f"{name} {int(openings) - 1} {count} {whom}")
        return opened
    return KilledAtWrite(opened, int(count), whom == "group")


builtins.open = open
'''
"""Python imports a module of this name at each start, from any folder of PYTHONPATH."""


def plan_kill(folder: Path, name: str, openings: int, count: int, whom: str) -> Path:
    """Kill the process that opens a file `name` for writing after `openings` times, and has written `count` strings.

    `whom` is "process" or "group". Holds for all processes with the returned folder in PYTHONPATH; the file `plan` in
    it is deleted by the kill.
    """
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    (folder / "plan").write_text(f"{name} {openings} {count} {whom}")
    return folder
