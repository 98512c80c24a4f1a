"""Commands as a user gives them, in forks of a process that has imported everything: in a tenth of the time."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from support.paths import ROOT

STAGES = ("prepare", "pretrain_load", "fine_tune", "distill", "evaluate")
PIECES = ("backbone.huggingface", "data.folder", "data.table", "loss.kd", "pretrain.none", "task.classify")
USED = (
    "alembic.command",
    "hydra._internal.core_plugins.basic_sweeper",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.tracing.processor.otel",
    "omegaconf._impl",
    "pyarrow.pandas_compat",
    "sklearn.linear_model",
    "sqlalchemy.dialects.sqlite",
    "transformers.models.bert.modeling_bert",
)
"""What commands import only when they work."""


class Done(NamedTuple):
    """What came of a command."""

    code: int | None
    out: str
    err: str


def forked(words: Sequence[str], cwd: Path, env: Mapping[str, str], logs: Path) -> Done:
    """`python -m decant.<words>` in `cwd`; what it prints goes through files in `logs`.

    A process of its own: signals, threads, MLflow's store and all else that a stage sets end with it.
    """
    context = multiprocessing.get_context("forkserver")
    ours = [
        f"decant.{name}"
        for name in (*STAGES, "experiment.compatible", "commands.experiment", "commands.predict", *PIECES)
    ]
    context.set_forkserver_preload([*ours, *USED])
    files = [logs / "out", logs / "err"]
    process = context.Process(target=_command, args=(words, cwd, dict(env), files))
    process.start()
    process.join()
    return Done(process.exitcode, *(f.read_text("utf-8", "replace") for f in files))


def _command(words: Sequence[str], cwd: Path, env: Mapping[str, str], files: Sequence[Path]) -> None:
    os.chdir(cwd)
    os.environ.update(env)
    for stream, file in zip((sys.stdout, sys.stderr), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    module, *sys.argv[1:] = words
    sys.modules.pop(f"decant.{module}", None)  # runpy warns of a module that it runs a second time
    runpy.run_module(f"decant.{module}", run_name="__main__", alter_sys=True)


def run_stage(name: str, *overrides: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m decant.<name>` in `cwd`, on this checkout's code."""
    return subprocess.run(
        [sys.executable, "-m", f"decant.{name}", *overrides],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )
