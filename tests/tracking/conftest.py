"""Fixtures of the tests of tracking."""

from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from decant.config.compose import composed


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder without a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DECANT_INVOCATION", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def config() -> Any:
    return composed(["use.data=toy", "trainer=cpu"], ROOT)
