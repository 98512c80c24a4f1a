import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from decant.workspace import up_to_date
from decant.workspace.snapshot import take_snapshot


@pytest.fixture
def remembered(project: Path) -> Path:
    """A project with the result of its files."""
    for name in ("data/prepare/out", "data/evaluate/report.md"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("# Result\n\n| a | b |\n|---|---|\n\n## Differences\n\n| c |\n")
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    assert not up_to_date.is_up_to_date(project)
    up_to_date.remember(project, take_snapshot(project))
    return project


def test_a_result_is_that_of_the_files_as_long_as_nothing_changes(remembered: Path) -> None:
    assert up_to_date.is_up_to_date(remembered)
    assert up_to_date.table(remembered) == "| a | b |\n|---|---|"


CHANGES: dict[str, Callable[[Path], object]] = {
    "a value": lambda root: (root / "params.yaml").write_text("a: 2\n"),
    "new code": lambda root: (root / "src/b.py").write_text("x"),
    "data that git knows": lambda root: (root / "data/raw/a.csv").write_text("x"),
    "data that git does not know": lambda root: (root / "data/raw/new.csv").write_text("newer"),
    "more data": lambda root: (root / "data/raw/deep/more.bin").write_text("x"),
    "an output": lambda root: (root / "data/prepare/out").write_text("x"),
    "a missing output": lambda root: (root / "data/prepare/out").unlink(),
    "a record": lambda root: (root / "dvc.lock").write_text("schema: '2.1'\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_it_may_be_another(change: str, remembered: Path) -> None:
    CHANGES[change](remembered)
    assert not up_to_date.is_up_to_date(remembered)


def test_the_answer_needs_no_slow_imports() -> None:
    script = "import sys; import decant.cli, decant.workspace.up_to_date; print(*{*sys.modules} & {*sys.argv[1:]})"
    slow = ["torch", "mlflow", "dvc", "pandas", "transformers", "numpy"]
    done = subprocess.run([sys.executable, "-c", script, *slow], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
