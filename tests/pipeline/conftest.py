"""The run of the pipeline that its tests share."""

from pathlib import Path

import pytest
from support.clones import copy_clone, environment, make_clone
from support.commands import run_fork
from support.secrets import marked, plant, planted
from support.workers import built_once


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_store: Path) -> Path:
    """A clone in which `decant experiment` has run a small experiment, with secrets all around it."""
    folder = make_clone(built_once(tmp_path_factory, "clone"), empty_mlflow_store)
    home = tmp_path_factory.mktemp("home")
    plant(folder, home)
    variables = {**environment(folder), **planted(), "HOME": str(home)}
    done = run_fork(["cli", "experiment"], folder, variables, tmp_path_factory.mktemp("logs"))
    assert done.code == 0, done
    assert not marked((done.out + done.err).encode()), done
    return folder


@pytest.fixture
def copied_clone(clone: Path, tmp_path: Path) -> Path:
    """A copy of the clone, for a test to change."""
    return copy_clone(clone, tmp_path / "clone")
