"""Which code, data and machine made a run; where the outputs in dvc.lock were made first, in provenance.json."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from decant.core.environment import hardware, processor_model, versions
from decant.core.errors import UserError

FILE = Path("provenance.json")
DECIDING = (
    *("torch", "torchvision", "torchmetrics", "transformers", "pytorch-lightning", "tokenizers", "safetensors"),
    *("peft", "timm", "kornia", "pillow", "datasets"),
    *("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "matplotlib", "onnx", "onnxruntime", "onnxscript"),
)
"""Libraries whose version may change the bytes of an output."""


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


def environment(trainer: Mapping[str, Any]) -> dict[str, str]:
    """What decides the bytes of an output, beside what dvc.lock holds: equal here, equal there."""
    devices = torch.cuda.device_count() if trainer["accelerator"] != "cpu" else 0
    return {
        "processor": f"{processor_model()}, {torch.backends.cpu.get_cpu_capability()}",
        "bfloat16": str(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()),
        "accelerator": f"{devices} x {torch.cuda.get_device_name(0)}, {torch.version.cuda}" if devices else "none",
        "python": platform.python_version(),
        **{f"trainer.{key!s}": str(value) for key, value in trainer.items() if key != "save_minutes"},
        **{name: _version(name) for name in DECIDING},
    }


def record(stage: str, made: str, where: dict[str, str]) -> None:
    """Write down the environment in which the output of a stage was made; equal bytes stay where they were first.

    `made` is the digest of the output.
    """
    known = recorded()
    if known.get(stage, {}).get("digest") != made:
        known[stage] = {"digest": made, **where}
        fresh = FILE.with_suffix(".fresh")
        fresh.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        fresh.replace(FILE)


def recorded(root: Path = Path()) -> dict[str, dict[str, str]]:
    """Environment and `digest` of each stage, as they were written down under `root`; empty: they were not.

    Raises:
        UserError: it cannot be read, after a merge, say.
    """
    file = root / FILE
    try:
        return json.loads(file.read_text()) if file.exists() else {}
    except ValueError as error:
        raise UserError(
            f"{file} cannot be read: {error}; take one side of it (git checkout --ours {FILE}), or delete it"
        ) from error


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""  # a machine without git
