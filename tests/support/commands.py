"""Commands as a user gives them: in this process, in a fork of one that has imported everything, or in a new one."""

import contextlib
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple, TextIO

import pytest

from support.paths import FOREIGN, ROOT

STAGES = ("prepare", "pretrain_load", "fine_tune", "distill", "evaluate")
PRELOADED = (
    *(f"decant.{name}" for name in STAGES),
    "decant.cli",
    "decant.commands.compare",
    "decant.commands.deliver",
    "decant.commands.experiment",
    "decant.commands.predict",
    "decant.commands.verify",
    *("decant.adapt.full", "decant.augment.none", "decant.backbone.huggingface", "decant.backbone.lstm"),
    *("decant.data.folder", "decant.data.table", "decant.loss.kd", "decant.pretrain.none", "decant.task.classify"),
    # what commands import only when they work
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
"""Modules that a fork finds imported: importing them takes most of the time of a command."""


class Done(NamedTuple):
    """The result of a command."""

    code: int | None
    out: str
    err: str


def run_here(arguments: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> Done:
    """`python -m decant.<arguments>` in `cwd`, in this process and without an MLflow run.

    For commands that do not train: errors become messages and exit codes as in a stage's own process.
    """
    module, *words = arguments
    with contextlib.ExitStack() as stack:
        files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115
        streams = [stack.enter_context(io.TextIOWrapper(file, "utf-8", "backslashreplace")) for file in files]
        streams[0].buffer.write(stdin)
        streams[0].buffer.seek(0)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # a process prints them, and goes on
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [f"decant.{module}", *words])
        for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, name, stream)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        keep_process_settings(patch)
        code = _exit_code(module)
        return Done(code, *map(_content, streams[1:]))


def _content(stream: TextIO) -> str:
    """What was written to a stream, or to its file descriptor."""
    stream.flush()
    stream.buffer.seek(0)
    return stream.buffer.read().decode("utf-8", "replace")


def keep_process_settings(patch: pytest.MonkeyPatch) -> None:
    """Undo, or leave out, what a command sets for the rest of its process."""
    from decant.tracking.runs import Run

    patch.setattr(sys, "excepthook", sys.excepthook)
    patch.setattr("signal.signal", lambda *_: signal.SIG_DFL)
    for name in ("freeze", "set_threshold"):
        patch.setattr(f"gc.{name}", lambda *_: None)
    patch.setattr("decant.core.stage.is_orphaned", lambda: False)  # what DVC_STAGE says is not so
    for name in ("pin_threads", "keep_freed_memory"):
        patch.setattr(f"decant.experiment.stage.{name}", lambda *_: None)
    patch.setattr("decant.tracking.runs.stage", lambda *_: contextlib.nullcontext(Run()))
    for name in ("TOKENIZERS_PARALLELISM", "CUBLAS_WORKSPACE_CONFIG", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"):
        patch.setenv(name, os.environ.get(name, "false"))


def _exit_code(module: str) -> int:
    from decant import cli
    from decant.experiment.stage import run_stage as run_as_stage

    try:
        if module == "cli":
            return cli.main()
        run_as_stage(module, import_module(f"decant.{module}").main)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def start_fork(
    arguments: Sequence[str],
    cwd: Path,
    env: Mapping[str, str] | None = None,
    logs: Path | None = None,
    ignored: Sequence[signal.Signals] = (),
) -> BaseProcess:
    """Start `python -m decant.<arguments>` in `cwd`, as a fork of a process that has imported all modules.

    `-c <script> ...` runs a script.

    It is a process of its own, in its own process group: signals, threads, MLflow's store and all else that a stage
    sets end with it. Its output goes to the files `out` and `err` in `logs` (default: `cwd`). It ignores the signals
    `ignored`, as a job in the background ignores Ctrl-C.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])
    files = [(logs or cwd) / name for name in ("out", "err")]
    for file in files:
        file.write_bytes(b"")
    process = context.Process(target=_command, args=(arguments, cwd, dict(env or {}), files, ignored))
    process.start()
    return process


def run_fork(
    arguments: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None, logs: Path | None = None
) -> Done:
    """The result of `start_fork`."""
    process = start_fork(arguments, cwd, env, logs)
    process.join()
    return Done(process.exitcode, *((logs or cwd).joinpath(f).read_text("utf-8", "replace") for f in ("out", "err")))


def _command(
    arguments: Sequence[str], cwd: Path, env: Mapping[str, str], files: Sequence[Path], ignored: Sequence[int]
) -> None:
    os.setpgid(0, 0)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(cwd)
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(env)
    tempfile.tempdir = None  # of the process that imported everything
    for stream, file in zip((sys.stdout, sys.stderr), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    module, *sys.argv[1:] = arguments
    if module == "-c":
        exec(sys.argv.pop(1), {})
        return
    sys.modules.pop(f"decant.{module}", None)  # runpy warns of a module that it runs a second time
    runpy.run_module(f"decant.{module}", run_name="__main__", alter_sys=True)


def run_python(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`python <arguments>` in `cwd`, in a new process, on the code of this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **env}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)


def run_stage(name: str, *overrides: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m decant.<name>`, likewise."""
    return run_python("-m", f"decant.{name}", *overrides, cwd=cwd, **env)
