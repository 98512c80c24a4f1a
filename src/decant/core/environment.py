"""This machine and its installed packages, in words."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch


def versions(*packages: str) -> str:
    """The installed versions of distributions: "torch 2.13.0, transformers 5.23.0"."""
    return ", ".join(f"{name} {version(name)}" for name in packages)


def hardware() -> str:
    """The processor and the accelerators, if there are any."""
    count = torch.cuda.device_count()
    return processor() + (f", {count} x {torch.cuda.get_device_name(0)}" if count else "")


def processor() -> str:
    """Cores and model of the processor, on which latencies are measured."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {processor_model()}"


def processor_model() -> str:
    """The model name that the processor reports."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
