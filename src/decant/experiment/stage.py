"""How a stage runs: its config, its MLflow run, and exit codes."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, cast

import psutil
from omegaconf import DictConfig, OmegaConf

from decant.config import compose
from decant.core import resume
from decant.core.errors import UserError
from decant.core.files import writable
from decant.core.processes import dvc, orphaned, rank
from decant.core.stage import _terminate, end_with, explained, keep_memory, quiet, threads
from decant.tracking import runs
from decant.tracking.runs import Run

Main = Callable[[DictConfig, Run], None]
CLEARED = ("fine_tune", "distill", "evaluate")
"""Stages whose outputs DVC clears away before they start; the others keep theirs (`persist`)."""


def stage(name: str, main: Main) -> None:
    """Run `main` as stage `name` with the overrides of the command line; never returns on an error.

    Exit code 2 for what the user can put right, 1 for a fault of ours (with its traceback), 143 when
    terminated, 130 after Ctrl-C (1 in the midst of training). The MLflow run is closed in each case. 1, and the run
    closed by the next stage, where DVC is gone and this one does not end within `GRACE`.
    """
    quiet()
    signal.signal(signal.SIGTERM, _terminate)
    if orphaned():
        sys.exit("decant: DVC, which started this stage, is gone; run: dvc repro")
    if above := psutil.Process(os.getppid()) if rank() else dvc():
        Thread(target=end_with, args=(above,), daemon=True).start()
    try:
        cfg = compose.load(sys.argv[1:])
        gc.freeze()  # all is imported by now; at exit, too, nobody need look through it
        writable(Path("data") / name)
        threads(cfg.trainer.threads)
        if name != "evaluate":  # it measures latency, as a server without this has it
            keep_memory()
        config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
        with explained(name), runs.stage(name, config, resume.place(name, cfg)) as tracked:
            main(cfg, tracked)
    except (KeyboardInterrupt, SystemExit) as stop:
        if any((resume.STATE / name).rglob("*.ckpt")):
            kept = "what was trained so far is kept, and the same command goes on from there"
            print(f"decant: stopped; {kept}", file=sys.stderr)
        sys.exit(stop.code if isinstance(stop, SystemExit) else 130)
    except FileNotFoundError as error:
        if not str(error.filename).startswith("data/"):
            raise
        again = f"run: dvc repro {name.replace('_', '-')}"
        print(f"decant: no {error.filename}, which an earlier stage writes; {again}", file=sys.stderr)
        sys.exit(2)
    except UserError as error:
        for problem in error.problems:
            print(f"decant: {problem}", file=sys.stderr)
        if "DVC_STAGE" in os.environ and name in CLEARED:
            print("decant: outputs that DVC cleared away come back with: dvc checkout", file=sys.stderr)
        sys.exit(2)
