"""Which code, data and machine made a run."""

import hashlib
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch


def provenance() -> dict[str, str]:
    """Tags that say which code, on which machine, made a run."""
    lock = Path("dvc.lock")
    experiment = os.environ.get("DVC_EXP_NAME")  # stages have it; what runs after them must not wipe it out
    return {
        "git.commit": _git("rev-parse", "HEAD"),
        "git.dirty": str(bool(_git("status", "--porcelain"))),
        "dvc.lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "none",
        **({"dvc.experiment": experiment} if experiment else {}),
        "hardware": hardware(),
        "threads": str(torch.get_num_threads()),
        "versions": versions("torch", "transformers", "pytorch-lightning", "dvc", "mlflow"),
    }


def versions(*packages: str) -> str:
    """The installed versions of distributions, in words."""
    return ", ".join(f"{name} {version(name)}" for name in packages)


def hardware() -> str:
    """The processor and, if there are any, the accelerators, in words."""
    count = torch.cuda.device_count()
    return processor() + (f", {count} x {torch.cuda.get_device_name(0)}" if count else "")


def processor() -> str:
    """The processor in words: what latencies are measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {names[0] if names else platform.machine()}"


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""  # a machine without git


def digest(path: Path) -> str:
    """sha256 over names and content of a file, or of all files under a folder: which output this is."""
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            total.update(f"{file.relative_to(path)}\0".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
