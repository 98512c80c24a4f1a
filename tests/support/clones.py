"""Clones of this project, with a small configuration and a DVC cache of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import yaml

from support.paths import ROOT

ORDER = ["prepare", "pretrain-load", "fine-tune", "distill", "evaluate"]
SMALL = {
    "use": {"data": "toy", "teacher": "tiny", "student": "tiny", "scratch": "lstm"},
    "fine_tune": {"epochs": 2, "control_epochs": 2, "max_length": 32, "batch_size": 16},
    "distill": {"epochs": 2, "control_epochs": 2, "max_length": 32, "batch_size": 16},
    "evaluate": {"resamples": 100},
}


def environment(clone: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DECANT", "DVC", "GIT"))}
    return {**clean, "PATH": path, "PYTHONPATH": str(clone / "src")}


def run_in(clone: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=clone,
        env={**environment(clone), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def repro(clone: Path, **env: str) -> list[str]:
    """`dvc repro`; the stages that ran."""
    done = run_in(clone, "dvc", "repro", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall("Running stage '([a-z-]+)'", done.stdout)


def edit_yaml(file: Path, change) -> None:
    values = yaml.safe_load(file.read_text())
    change(values)
    file.write_text(yaml.safe_dump(values))


def make_clone(folder: Path) -> Path:
    """The files of this checkout, a small configuration, its own git and DVC cache."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in files:
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    edit_yaml(folder / "params.yaml", lambda p: [p[k].update(v) for k, v in SMALL.items()])
    for words in ("init -q", "add -A", "-c user.name=t -c user.email=t@t commit -qm start"):
        assert run_in(folder, "git", *words.split()).returncode == 0
    return folder


def ask_logged_model(clone: Path, script: str, model: str) -> None:
    """Run a script with the store and the address of a logged model, where decant is not on the path."""
    done = run_in(clone, sys.executable, "-c", script, f"sqlite:///{clone}/mlflow.db", model, PYTHONPATH="")
    assert done.returncode == 0, done.stderr


def mlflow_client(clone: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{clone}/mlflow.db")


def mlflow_runs(clone: Path) -> list:
    return mlflow_client(clone).search_runs(["1"], order_by=["attributes.start_time ASC"])
