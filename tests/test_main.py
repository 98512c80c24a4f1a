import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

from decant import __main__ as launcher
from decant.core.resume import UPSTREAM

SLOW_IMPORT = "import time, pathlib; pathlib.Path('importing').touch(); time.sleep(60)"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`python -m decant <arguments>` where importing torch takes long."""
    (folder / "torch.py").write_text(SLOW_IMPORT)
    env = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-m", "decant", *arguments]
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_during_imports_ends_a_stage_without_a_traceback(tmp_path: Path) -> None:
    process = start(tmp_path, "prepare")
    while not (tmp_path / "importing").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == ""
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("arguments", [(), ("prepar",), ("predict",)])
def test_other_words_than_stages_are_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    process = start(tmp_path, *arguments)
    assert process.communicate()[1].startswith("usage: python -m decant {prepare,pretrain_load,")
    assert process.returncode == 1


def test_dvc_starts_every_stage_in_this_way() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert [stage["cmd"] for stage in stages.values()] == [f"python -m decant {name}" for name in launcher.STAGES]
    assert tuple(UPSTREAM) == launcher.STAGES
