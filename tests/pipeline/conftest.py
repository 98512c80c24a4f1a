"""The run of the pipeline that its tests share."""

from pathlib import Path

import pytest
from support.clones import copy_clone, environment, make_clone
from support.commands import run_fork
from support.workers import built_once


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_store: Path) -> Path:
    """A clone in which `decant experiment` has run a small experiment."""
    folder = make_clone(built_once(tmp_path_factory, "clone"), empty_mlflow_store)
    done = run_fork(["cli", "experiment"], folder, environment(folder), tmp_path_factory.mktemp("logs"))
    assert done.code == 0, done
    return folder


@pytest.fixture
def copied_clone(clone: Path, tmp_path: Path) -> Path:
    """A copy of the clone, for a test to change."""
    return copy_clone(clone, tmp_path / "clone")
