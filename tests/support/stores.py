"""MLflow stores: SQLite files whose tables exist already, because creating them takes seconds."""

import shutil
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock

from support.workers import shared_folder


def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables and no runs; all test workers share it."""
    file = shared_folder(tmp_path_factory) / "empty_store.db"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            new = file.with_suffix(".new")
            mlflow.MlflowClient(f"sqlite:///{new}").search_experiments()
            new.rename(file)
    return file


def copy_store(store: Path, folder: Path) -> str:
    """A copy of `empty_store` as mlflow.db in `folder`, where a project keeps its store; its address."""
    shutil.copyfile(store, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"
