"""Fixtures of the tests of tracking."""

from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT
from support.stores import copy_store

from decant.config.compose import composed


@pytest.fixture
def empty_workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder without a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DECANT_INVOCATION", str(tmp_path))
    return tmp_path


@pytest.fixture
def workdir(empty_workdir: Path, empty_mlflow_store: Path) -> Path:
    """A folder with an empty store."""
    copy_store(empty_mlflow_store, empty_workdir)
    return empty_workdir


@pytest.fixture(scope="module")
def config() -> Any:
    return composed(["use.data=toy", "trainer=cpu"], ROOT)
