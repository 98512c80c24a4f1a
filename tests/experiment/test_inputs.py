"""What a stage was started with is what dvc.lock may record."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.paths import ROOT

from decant.core.errors import UserError
from decant.experiment.inputs import StageInputs


@pytest.fixture
def pipeline(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real dvc.yaml and values, on a small copy of the code and of the outputs of prepare."""
    monkeypatch.chdir(project)
    shutil.copy(ROOT / "dvc.yaml", project)
    (project / "conf").unlink()
    shutil.copytree(ROOT / "conf", project / "conf")
    for name in ("src/decant/loss/kd.py", "src/decant/commands/x.py", "data/prepare/train.parquet"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    return project


def edit(file: str, old: str, new: str) -> Callable[[], object]:
    def change() -> None:
        content = Path(file).read_text()
        assert old in content
        Path(file).write_text(content.replace(old, new, 1))

    return change


CHANGES: dict[str, Callable[[], object]] = {
    "distill in params.yaml": edit("params.yaml", "init_from: pretrained", "init_from: teacher"),
    "seed in params.yaml": edit("params.yaml", "seed: 0", "seed: 5"),
    "conf/loss/kd.yaml": edit("conf/loss/kd.yaml", "temperature: ", "temperature: 1"),
    "src/decant/loss": edit("src/decant/loss/kd.py", "x", "y"),
    "data/prepare": lambda: Path("data/prepare/more.parquet").write_text("x"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_an_input_while_a_stage_runs_is_refused(name: str, pipeline: Path) -> None:
    inputs = StageInputs("distill")
    inputs.check_unchanged()
    CHANGES[name]()
    with pytest.raises(UserError, match=f"^{name} changed while distill ran"):
        inputs.check_unchanged()


@pytest.mark.parametrize(
    "change",
    [
        edit("params.yaml", "resamples: 2000", "resamples: 1000"),  # of evaluate
        edit("params.yaml", "adapt: full", "adapt: lora"),  # of fine-tune
        edit("params.yaml", "loss: kd", "loss: mse"),  # DVC has chosen the file at its start
        edit("conf/loss/kd.yaml", "temperature", "# a comment\ntemperature"),
        edit("src/decant/commands/x.py", "x", "y"),
    ],
)
def test_a_change_that_dvc_does_not_record_for_the_stage_is_allowed(
    change: Callable[[], object], pipeline: Path
) -> None:
    inputs = StageInputs("distill")
    change()
    inputs.check_unchanged()


def test_a_stage_by_hand_in_a_folder_without_dvc_has_no_inputs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert StageInputs("distill").digests == {}


def test_every_stage_has_the_inputs_of_the_real_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for stage in ("prepare", "pretrain_load", "fine_tune", "distill", "evaluate"):
        names = StageInputs(stage).digests
        assert {"seed in params.yaml", "src/decant/models"} <= set(names)
        assert not any("$" in name for name in names)
