"""Projects whose stages only hash their inputs, and `decant experiment` in them: all of it but the training."""

import shutil
from multiprocessing.process import BaseProcess
from pathlib import Path

import yaml

from support.clones import edit_yaml, environment, make_clone
from support.commands import Done, run_fork, start_fork
from support.git import git
from support.paths import ROOT

STUB = ROOT / "tests/support/stub_stage.py"
SCRIPT = """
import sys
import unittest.mock as mock
from decant import cli
from decant.commands import experiment
# a stub logs no run to MLflow and writes no report; the run of the invocation is real
mock.patch.object(experiment, "producer", lambda stage: object() if stage == "evaluate" else None).start()
mock.patch.object(experiment, "timings_restored", lambda run: True).start()
for name, value in {
    "read": lambda: ({}, {}),
    "log": lambda run, *_: [run.log_metrics({f"student/{n}": 0.5 for n in "abc"}), run.log_metrics({"teacher/a": 1})],
    "print_result": lambda *_: print("the result"),
}.items():
    mock.patch.object(experiment.report, name, value).start()
sys.argv[0] = "decant"
sys.exit(cli.main())
"""


def make_stub_project(folder: Path, store: Path) -> Path:
    """A clone whose stages are stubs, with uncommitted edits, a staged file, a stash and an unknown file."""
    make_clone(folder, store)
    git(folder, "add", "-A")
    edit_yaml(folder / "dvc.yaml", lambda dvc: [s.update(cmd=f"python {STUB} {n}") for n, s in dvc["stages"].items()])
    git(folder, "commit", "-qam", "stubs")
    (folder / "README.md").write_text("stashed")
    git(folder, "stash")
    (folder / "CHANGELOG.md").write_text("an edit")
    (folder / "src/staged.py").write_text("staged")
    git(folder, "add", "src/staged.py")
    (folder / "data/raw/unknown.csv").write_text("a file that git does not know")
    set_seed(folder, 1)
    return folder


def set_seed(project: Path, seed: int) -> None:
    """An edit of params.yaml that is not committed, and changes every output."""
    edit_yaml(project / "params.yaml", lambda params: params.update(seed=seed))


def copy_project(project: Path, folder: Path) -> Path:
    return Path(shutil.copytree(project, folder, symlinks=True))


def run_experiment(project: Path, logs: Path, *arguments: str, **env: str) -> Done:
    """`decant experiment <arguments>` in a stub project."""
    return run_fork(["-c", SCRIPT, "experiment", *arguments], project, environment(project) | env, logs)


def start_experiment(project: Path, logs: Path, *arguments: str) -> BaseProcess:
    return start_fork(["-c", SCRIPT, "experiment", *arguments], project, environment(project), logs)


def lock_digests(project: Path) -> dict[str, str]:
    """{path: md5} of all outputs, from dvc.lock."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
