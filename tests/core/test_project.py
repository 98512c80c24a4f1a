from pathlib import Path

import pytest

from decant.core import project


def test_the_project_is_the_working_directory_unless_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(project.VARIABLE, raising=False)
    assert project.root() == tmp_path
    monkeypatch.setenv(project.VARIABLE, "")
    assert project.root() == tmp_path
    monkeypatch.setenv(project.VARIABLE, "/elsewhere")
    assert project.root() == Path("/elsewhere")
