"""How a stage runs: config, threads, errors and exit codes, outputs that are replaced whole, its MLflow run."""

import ctypes
import errno
import faulthandler
import gc
import hashlib
import inspect
import json
import logging
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from types import FrameType, ModuleType, TracebackType
from typing import Any

import psutil
import torch
import transformers
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from decant import UserError, config, redacted, state, tracking
from decant.tracking import Run

Main = Callable[[DictConfig, Run], None]
FULL = re.compile("No space left on device|disk is full|os error 28")
SHORT = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
"""What libraries say that have no error class for it."""
GRACE = 30.0
"""Seconds that a stage has to close its run when DVC is gone: another may soon be started in its place."""
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
    if tracking.orphaned():
        sys.exit("decant: DVC, which started this stage, is gone; run: dvc repro")
    if above := psutil.Process(os.getppid()) if tracking.rank() else tracking.dvc():
        Thread(target=end_with, args=(above,), daemon=True).start()
    try:
        cfg = config.load(sys.argv[1:])
        gc.freeze()  # all is imported by now; at exit, too, nobody need look through it
        writable(Path("data") / name)
        threads(cfg.trainer.threads)
        if name != "evaluate":  # it measures latency, as a server without this has it
            keep_memory()
        with explained(name), tracking.stage(name, cfg) as tracked:
            main(cfg, tracked)
    except (KeyboardInterrupt, SystemExit) as stop:
        if any((state.STATE / name).rglob("*.ckpt")):
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


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Say of what a stage has run out, memory or disk, and what to do.

    Raises:
        UserError: instead of what libraries raise then, each its own.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        first = str(error).partition("\n")[0]
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or FULL.search(str(error)):
            raise UserError(
                f"the disk is full ({shutil.disk_usage('.').free / 1e6:.0f} MB are free here): {first}; free some (dvc "
                "gc --workspace clears old outputs from DVC's cache) and run the same again: what was kept of a "
                "training is not lost"
            ) from error
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or SHORT.search(str(error)):
            trains = name in ("pretrain_load", "fine_tune", "distill")
            knobs = f"lower {name}.batch_size or {name}.max_length in params.yaml" if trains else "give it fewer rows"
            traceback.print_exc()  # it may be a fault of ours that asks for so much
            raise UserError(
                f"not enough memory: {first}; raise accumulate in conf/trainer/ (the same batch in smaller parts), or "
                f"{knobs}"
            ) from error
        raise


def _terminate(signum: int, frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # another would interrupt the closing of the run
        signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + signum)


def end_with(above: psutil.Process) -> None:
    """End this process when the one above it is gone, killed without a chance to say so."""
    with suppress(psutil.NoSuchProcess):
        above.wait()
    # what Python is in may swallow the exit, or take long; this ends it then, and says where it was
    faulthandler.dump_traceback_later(GRACE, exit=True, file=2)
    os.kill(os.getpid(), signal.SIGTERM)


def quiet() -> None:
    """Leave out what libraries say to their own developers, and credentials."""
    sys.excepthook = _hook
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # forks and threads do not mix
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on a GPU
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # it would warn of every new head, which is the point
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # data is in memory
    warnings.filterwarnings("ignore", message=".*number of training batches.*")  # we log per epoch
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # datamodule.py goes on by itself
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # Lightning on new torch
    warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer")  # targets have no gaps


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def threads(count: int) -> None:
    """Pin the number of CPU threads: another count changes the last bits of every sum."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)
    threadpool_limits(count)  # NumPy and scikit-learn read the variable when they are imported


def keep_memory() -> None:
    """Keep freed memory for the next step, where the allocator is glibc's.

    It hands large blocks back at once, and the kernel clears each page again when it is next asked for: on images
    that is more than half of the time.
    """
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_max = -1, -4  # numbers of malloc.h
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, -1)


def writable(folder: Path) -> None:
    """Make sure that `folder` can be made and written, before any work.

    Raises:
        UserError: it cannot.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file")
        tempfile.TemporaryFile(dir=folder if folder.exists() else folder.parent).close()
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}; free the path, or correct its owner and mode") from error


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when the block ends well; else nothing changes.

    Ranks above 0 get a folder that is thrown away.
    """
    if tracking.rank():
        with tempfile.TemporaryDirectory() as elsewhere:
            yield Path(elsewhere)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield fresh
        shared(fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def shared(folder: Path) -> None:
    """Give all in `folder` the usual mode: temporary folders, and weights that safetensors wrote, are private."""
    mask = os.umask(0)
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def write_json(file: Path, value: Any) -> None:
    """Sorted and indented: equal values have equal bytes."""
    file.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def read_json(file: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise UserError(
            f"{file} is damaged, no JSON ({error}); get it again, or, if a stage made it, run: dvc repro"
        ) from error


def code(source: type | ModuleType) -> str:
    """md5 of the source file of a class or module: a stage writes it down where DVC watches a whole folder."""
    return hashlib.md5(Path(inspect.getfile(source)).read_bytes()).hexdigest()
