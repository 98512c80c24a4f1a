"""Clones of this project, with a small experiment and a DVC cache of their own, and the commands that run in them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from dvc.repo import Repo

from support.paths import FOREIGN, ROOT
from support.stores import copy_store

STAGES = ["prepare", "pretrain-load", "fine-tune", "distill", "evaluate"]
SMALL = {
    "use": {"data": "toy", "teacher": "tiny", "student": "tiny"},
    "fine_tune": {"epochs": 2, "control_epochs": 2, "max_length": 32, "batch_size": 16},
    "distill": {"epochs": 2, "control_epochs": 1, "max_length": 32, "batch_size": 16},
    "evaluate": {"resamples": 100},
}
"""The values of params.yaml that differ from the default."""
UNLABELLED = 150
"""Unlabelled rows, fewer than in the shipped data."""


def environment(clone: Path) -> dict[str, str]:
    """Runs the code of the clone."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**inherited, "PATH": path, "PYTHONPATH": str(clone / "src")}


def run_in(clone: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        cwd=clone,
        env={**environment(clone), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def repro(clone: Path) -> list[str]:
    """`dvc repro`; the stages that ran."""
    done = run_in(clone, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall("Running stage '([a-z-]+)'", done.stdout)


def stages_to_run(clone: Path) -> list[str]:
    """The stages that `dvc repro` would run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone)
        return [stage.name for stage in Repo(str(clone)).reproduce(dry=True)]


def edit_yaml(file: Path, change: Callable[[Any], object]) -> None:
    values = yaml.safe_load(file.read_text())
    change(values)
    file.write_text(yaml.safe_dump(values))


def make_clone(folder: Path, store: Path) -> Path:
    """The files of this checkout and a small experiment, committed; an empty DVC cache, and an empty MLflow store."""
    folder.mkdir(exist_ok=True)
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in files:
        if (ROOT / name).is_file() and name not in ("dvc.lock", "provenance.json"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    edit_yaml(folder / "params.yaml", lambda params: [params[section].update(SMALL[section]) for section in SMALL])
    edit_yaml(folder / "conf/trainer/auto.yaml", lambda trainer: trainer.update(threads=1))
    unlabelled = folder / "data/raw/support/unlabelled.csv"
    unlabelled.write_text("".join(unlabelled.read_text().splitlines(keepends=True)[: UNLABELLED + 1]))
    for arguments in ("init -q", "add -A", "-c user.name=t -c user.email=t@t commit -qm start"):
        assert run_in(folder, "git", *arguments.split()).returncode == 0
    copy_store(store, folder)
    return folder


def commit(clone: Path) -> None:
    run_in(clone, "git", "add", "-A")
    run_in(clone, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "more")


def copy_clone(clone: Path, folder: Path) -> Path:
    """A clone with the same commit, outputs, cache and runs."""
    return Path(shutil.copytree(clone, folder, symlinks=True))


def load_logged_models(clone: Path, script: str, *addresses: str) -> None:
    """Run a script with the store and the addresses of logged models, where decant is not on the path."""
    done = run_in(clone, sys.executable, "-c", script, f"sqlite:///{clone}/mlflow.db", *addresses, PYTHONPATH="")
    assert done.returncode == 0, done.stderr


def mlflow_client(clone: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{clone}/mlflow.db")


def mlflow_runs(clone: Path) -> list:
    """All runs, the oldest first."""
    return mlflow_client(clone).search_runs(["1"], order_by=["attributes.start_time ASC"])
