"""Fixtures that tests of adaptations share."""

from pathlib import Path

import pytest


@pytest.fixture
def project_dir(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project is the working directory."""
    monkeypatch.chdir(project)
    return project
