"""The process of a stage: signals, threads, memory, quiet libraries, and exit codes."""

import ctypes
import errno
import faulthandler
import gc
import logging
import os
import platform
import re
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType, TracebackType

import psutil
import torch
import transformers
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from decant.core.errors import UserError
from decant.core.locks import GRACE_SECONDS
from decant.core.processes import dvc_process, is_orphaned, rank
from decant.core.redaction import redacted
from decant.core.resume import STATE

DISK_FULL = re.compile("No space left on device|disk is full|os error 28")
OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
"""Messages of libraries that have no error class for this."""
CLEARED = ("fine_tune", "distill", "evaluate")
"""Stages whose outputs DVC deletes before they start; the others keep theirs (`persist`)."""
TRAINING = ("pretrain_load", "fine_tune", "distill")


@contextmanager
def stage_process(name: str) -> Iterator[None]:
    """Run the block as the process of stage `name`; errors become messages and exit codes.

    Exit code 2 for errors that the user can put right, 1 for errors of decant (with a traceback), 143 after SIGTERM,
    130 after Ctrl-C (1 in the middle of training). When DVC is killed, the stage ends too: with code 1 if it has not
    ended by itself after `GRACE_SECONDS`.
    """
    configure_libraries()
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # during the imports, see __main__.py
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_orphaned():
        sys.exit("decant: DVC, which started this stage, is gone; run: dvc repro")
    if parent_process := psutil.Process(os.getppid()) if rank() else dvc_process():
        Thread(target=end_with, args=(parent_process,), daemon=True).start()
    # libraries are millions of objects that stay: looking through them again and again takes seconds, also at exit
    gc.set_threshold(100_000, 20, 100)
    gc.freeze()
    try:
        with exhaustion_explained(name):
            yield
    except (KeyboardInterrupt, SystemExit) as stop:
        _report_resume_state(name)
        sys.exit(stop.code if isinstance(stop, SystemExit) else 130)
    except FileNotFoundError as error:
        if not str(error.filename).startswith("data/"):
            raise
        command = f"run: dvc repro {name.replace('_', '-')}"
        _exit_with([f"no {error.filename}, which an earlier stage writes; {command}"])
    except UserError as error:
        restore = "outputs that DVC deleted before this stage come back with: dvc checkout"
        _exit_with([*error.problems, *([restore] if "DVC_STAGE" in os.environ and name in CLEARED else [])])


def _report_resume_state(name: str) -> None:
    if any((STATE / name).rglob("*.ckpt")):
        print("decant: stopped; the training so far is saved, and the same command resumes it", file=sys.stderr)


def _exit_with(problems: list[str]) -> None:
    print(*(f"decant: {problem}" for problem in problems), sep="\n", file=sys.stderr)
    sys.exit(2)


@contextmanager
def exhaustion_explained(name: str) -> Iterator[None]:
    """Explain a full disk or too little memory in stage `name`.

    Raises:
        UserError: in place of the errors of the libraries.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or DISK_FULL.search(str(error)):
            free = shutil.disk_usage(".").free / 1e6
            raise UserError(
                f"the disk is full ({free:.0f} MB are free here): {reason}; free some (dvc gc --workspace clears old "
                "outputs from DVC's cache) and run the same command again: the saved state of a training is not lost"
            ) from error
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or OUT_OF_MEMORY.search(str(error)):
            smaller = f"lower {name}.batch_size or {name}.max_length in params.yaml"
            traceback.print_exc()  # the cause may be an error of decant that asks for too much
            raise UserError(
                f"not enough memory: {reason}; raise accumulate in conf/trainer/ (the same batch in smaller parts), or "
                f"{smaller if name in TRAINING else 'give it fewer rows'}"
            ) from error
        raise


def _terminate(signum: int, frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # another one would interrupt the closing of the run
        signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + signum)


def end_with(parent_process: psutil.Process) -> None:
    """End this process when its parent has been killed."""
    with suppress(psutil.NoSuchProcess):
        parent_process.wait()
    # a library may swallow the exit, or take long: this ends the process then, and prints where it was
    faulthandler.dump_traceback_later(GRACE_SECONDS, exit=True, file=2)
    os.kill(os.getpid(), signal.SIGTERM)


def configure_libraries() -> None:
    """Silence messages that are not for users, and remove credentials from tracebacks."""
    sys.excepthook = _print_redacted
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # forks and threads do not mix
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on a GPU
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # it warns of every new head, which is intended here
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # data is in memory
    warnings.filterwarnings("ignore", message=".*number of training batches.*")  # metrics are logged per epoch
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # datamodule.py resumes by itself
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # Lightning on new torch
    warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer")  # targets have no gaps


def _print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def pin_threads(count: int) -> None:
    """Set the number of CPU threads: another number changes the last bits of every sum."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)
    threadpool_limits(count)  # NumPy and scikit-learn read the variable when they are imported


def keep_freed_memory() -> None:
    """Let glibc's allocator keep freed memory for the next step.

    By default it returns large blocks at once, and the kernel clears each page again at the next request: on images
    that is more than half of the time.
    """
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_max = -1, -4  # parameters of mallopt in malloc.h
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, -1)
