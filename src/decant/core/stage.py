"""How a stage process runs: quiet libraries, pinned threads, memory, and errors in words."""

import ctypes
import errno
import faulthandler
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
from types import FrameType, TracebackType

import psutil
import torch
import transformers
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from decant.core.errors import UserError, redacted

FULL = re.compile("No space left on device|disk is full|os error 28")
SHORT = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
"""What libraries say that have no error class for it."""
GRACE = 30.0
"""Seconds that a stage has to close its run when DVC is gone: another may soon be started in its place."""


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
