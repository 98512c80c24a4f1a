"""Workspaces under .state/benchmarks/, and experiments and stages that run in them."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import sections

from decant.config.compose import experiment_overrides
from decant.core.files import read_json
from decant.core.resume import UPSTREAM
from decant.dataset.prepared import PREPARED, Prepared
from decant.experiment.experiment import Experiment
from decant.tracking.runs import Run

WORKSPACES = sections.ROOT / ".state/benchmarks"
STAGES = tuple(UPSTREAM)
"""All stages, in the order in which they run."""


class RecordedRun(Run):
    """Records metrics in memory; nothing is logged to MLflow."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, list[float]] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Append the value of each metric."""
        for name, value in metrics.items():
            self.metrics.setdefault(name, []).append(value)


def all_overrides(name: str, changes: Sequence[str]) -> list[str]:
    """conf/experiment/<name>.yaml with changes, as overrides of params.yaml."""
    return [*experiment_overrides(name, sections.ROOT), *changes]


def load(name: str, changes: Sequence[str]) -> Experiment:
    """The experiment of conf/experiment/<name>.yaml with changes."""
    return Experiment.load(all_overrides(name, changes), sections.ROOT)


def workspace_path(name: str) -> Path:
    """The folder of the workspace `name`, which need not exist yet."""
    return WORKSPACES / name.replace(" ", "_")


def workspace(name: str) -> Path:
    """The workspace `name`: a folder with links to conf/, params.yaml and the files in data/raw/ of this checkout."""
    folder = workspace_path(name)
    (folder / "data/raw").mkdir(parents=True, exist_ok=True)
    raw = [f"data/raw/{file.name}" for file in (sections.ROOT / "data/raw").iterdir()]
    for path in ("conf", "params.yaml", *raw):
        if not (folder / path).exists():
            (folder / path).symlink_to(sections.ROOT / path)
    return folder


def run_stage(stage: str, overrides: Sequence[str], folder: Path, core: int | None = None) -> float:
    """Run a stage in a workspace, on one CPU core if it is given; returns seconds."""
    start = time.perf_counter()
    pinned = ["taskset", "--cpu-list", str(core)] if core is not None else []
    environment = {**os.environ, "DECANT_INVOCATION": f"{folder.name} {os.getpid()}"}
    command = [*pinned, sys.executable, "-m", f"decant.{stage}", *overrides]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return time.perf_counter() - start


def row_counts(folder: Path) -> dict[str, int]:
    """{split: rows} of the prepared data in a workspace."""
    splits = read_json(folder / PREPARED / "card.json")["splits"]
    return {split: facts["rows"] for split, facts in splits.items()}


def describe_rows(folder: Path) -> str:
    """The rows of each split, for the text above a table."""
    return f"Rows: {', '.join(f'{split} {rows:,}' for split, rows in row_counts(folder).items())}."


def test_targets(prepared: Prepared) -> np.ndarray:
    """Encoded targets (N, ...) of the test rows."""
    return np.stack(prepared.frames["test"]["target"].to_list())
