"""Which code, data and machine produced a run; provenance.json records where the outputs in dvc.lock came from."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from decant.core.environment import hardware, processor_model, versions
from decant.core.errors import UserError

FILE = Path("provenance.json")
UNKNOWN = "unknown"
LIBRARIES = (
    *("torch", "torchvision", "torchmetrics", "transformers", "pytorch-lightning", "tokenizers", "safetensors"),
    *("peft", "timm", "kornia", "pillow", "datasets"),
    *("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "matplotlib", "onnx", "onnxruntime", "onnxscript"),
)
"""Libraries whose version may change the bytes of an output."""


def run_tags() -> dict[str, str]:
    """Tags that say which code, on which machine, produced a run."""
    lock = Path("dvc.lock")
    # without a name, the tag that an earlier stage set must stay
    experiment = os.environ.get("DECANT_EXPERIMENT_NAME") or os.environ.get("DVC_EXP_NAME")
    changes = _git("status", "--porcelain")
    return {
        "git.commit": _git("rev-parse", "HEAD") or UNKNOWN,
        "git.dirty": UNKNOWN if changes is None else str(bool(changes)),
        "dvc.lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "none",
        **({"dvc.experiment": experiment} if experiment else {}),
        "hardware": hardware(),
        "threads": str(torch.get_num_threads()),
        "versions": versions("torch", "transformers", "pytorch-lightning", "dvc", "mlflow"),
    }


def check_git() -> None:
    """Check, before any work, that git works where there is a repository: DVC needs it at the end.

    Raises:
        UserError: it does not, for example because .git belongs to another user.
    """
    with suppress(OSError):  # git is not installed: a stage by hand does not need it
        done = subprocess.run(
            ["git", "rev-parse", "--git-dir"], capture_output=True, text=True, errors="replace", check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        if done.returncode and "not a git repository" not in done.stderr:
            reason = " ".join(done.stderr.split())
            raise UserError(f"git does not work here: {reason}; correct that, and run the same command again")


def environment(trainer: Mapping[str, object]) -> dict[str, str]:
    """What decides the bytes of an output in addition to dvc.lock: equal environments produce equal bytes.

    `trainer`: the section of that name in the resolved config.
    """
    devices = torch.cuda.device_count() if trainer["accelerator"] != "cpu" else 0
    return {
        "processor": f"{processor_model()}, {torch.backends.cpu.get_cpu_capability()}",
        "bfloat16": str(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()),
        "accelerator": f"{devices} x {torch.cuda.get_device_name(0)}, {torch.version.cuda}" if devices else "none",
        "python": platform.python_version(),
        **{f"trainer.{key}": str(value) for key, value in trainer.items() if key != "save_minutes"},
        **{name: _version(name) for name in LIBRARIES},
    }


def record(stage: str, digest: str, environment: Mapping[str, str]) -> None:
    """Record in which environment a stage produced an output; an output of the same bytes keeps its first record.

    `digest`: of the output.
    """
    records = read()
    if records.get(stage, {}).get("digest") != digest:
        records[stage] = {"digest": digest, **environment}
        fresh = FILE.with_suffix(".fresh")
        fresh.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n")
        fresh.replace(FILE)


def read(root: Path = Path()) -> dict[str, dict[str, str]]:
    """Environment and output `digest` of each stage, from provenance.json under `root`; empty without that file.

    Raises:
        UserError: the file is not JSON, for example after a merge.
    """
    file = root / FILE
    try:
        return json.loads(file.read_text()) if file.exists() else {}
    except ValueError as error:
        raise UserError(
            f"{file} cannot be read: {error}; take one side of the merge (git checkout --ours {FILE}), or delete it"
        ) from error


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _git(*arguments: str) -> str | None:
    """What git prints; None: it failed, or is not installed."""
    with suppress(OSError):
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", check=False)
        return None if done.returncode else done.stdout.strip()
    return None
