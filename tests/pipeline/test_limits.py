"""What a stage runs out of, or into: a loss that is no number, memory, disk; it is told, and nothing good is lost."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import run_fork
from support.paths import ROOT
from support.tiny_project import BACKBONES, RecordedRun, write_prepared, write_teacher
from support.training_jobs import teacher_job
from transformers import AutoModel

from decant.adapt.full import Full
from decant.core import manifest
from decant.core.errors import UserError
from decant.core.files import read_json, write_json
from decant.core.hashing import digest
from decant.experiment.experiment import Experiment
from decant.models import dropout
from decant.training import checkpoint, trainer
from decant.training.learner import SupervisedLearner
from decant.training.train import train

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
]
TINY = ["use.data=toy", *(f"use.{role}=tiny" for role in ("teacher", "student", "scratch"))]


@pytest.fixture
def tiny(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    monkeypatch.setattr(checkpoint, "MIN_SECONDS", 0.0)  # epochs here are short
    write_prepared("text", 3)
    write_teacher(BACKBONES["text"])
    return project


def tuned(project: Path, learner: Any, *words: str) -> Path:
    folder = project / "trained"
    train(teacher_job(*words, run=RecordedRun(project / ".state"), learner=learner, adapt=Full()), folder)
    return folder


class Spoilt(SupervisedLearner):
    """Its loss is multiplied from the second epoch on."""

    factor = 1.0

    def terms(self, logits: torch.Tensor, batch: Any) -> dict[str, torch.Tensor]:
        late = self.trainer.training and self.current_epoch > 0
        return {"loss": super().terms(logits, batch)["loss"] * (self.factor if late else 1.0)}


class Nan(Spoilt):
    factor = float("nan")


class Exploding(Spoilt):
    factor = 1e4


@pytest.mark.parametrize(
    ("learner", "figure"), [(Nan, r"the loss is nan in epoch 2"), (Exploding, r"the loss is 1.\d+e\+04 in epoch 2")]
)
def test_a_loss_that_is_lost_stops_the_run_and_the_last_good_state_is_kept(
    learner: type, figure: str, tiny: Path
) -> None:
    with pytest.raises(UserError, match=figure) as caught:
        tuned(tiny, learner, "trainer.save_minutes=60")
    message = str(caught.value)
    assert "and was 1.1 in the first" in message
    assert (
        "lower fine_tune.lr (now 0.01) or fine_tune.clip (now 1) in params.yaml, which starts the training over"
        in message
    )
    (state_file,) = (tiny / ".state").rglob("*.ckpt")
    assert f"the last good state is saved in {state_file}" in message
    state = torch.load(state_file, weights_only=True)
    assert state["epoch"] == 0
    assert all(value.isfinite().all() for value in state["state_dict"].values())
    assert not (tiny / "trained").exists()


class Broken(Spoilt):
    """Its weights are lost between two looks at the loss."""

    def on_train_batch_end(self, *_: Any) -> None:
        if self.global_step == 4:
            next(iter(self.network.parameters())).data.fill_(float("inf"))


def test_a_state_is_kept_only_if_all_in_it_is_finite(tiny: Path) -> None:
    with pytest.raises(UserError, match="weights are not finite in epoch 2"):
        tuned(tiny, Broken, "trainer.save_minutes=0")
    (state_file,) = (tiny / ".state").rglob("*.ckpt")
    assert all(value.isfinite().all() for value in torch.load(state_file, weights_only=True)["state_dict"].values())


def test_the_knob_of_a_probe_is_where_it_stands() -> None:
    hparams = Experiment.load([], ROOT).fine_tune
    assert trainer.divergence_advice(hparams, "probe/") == "lower the lr of the probe (now 0.0002) in conf/adapt/"


def test_a_rate_that_is_absurd_is_named(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"lower fine_tune.lr \(now 1e\+20\)"):
        tuned(tiny, SupervisedLearner, "fine_tune.lr=1e20")


@pytest.mark.slow
def test_a_batch_in_parts_trains_as_the_whole_does(tiny: Path) -> None:
    file = Path("data/pretrain_load/teacher/config.json")
    write_json(file, dropout.with_dropout(read_json(file), 0.0))  # each part would drop others
    manifest.write(file.parent)
    weights = []
    for parts in (1, 2, 4):
        shutil.rmtree(tiny / ".state", ignore_errors=True)
        folder = tuned(tiny, SupervisedLearner, f"trainer.accumulate={parts}", "fine_tune.ema=0.5", "fine_tune.lr=1e-3")
        weights.append(AutoModel.from_pretrained(folder).state_dict())
        shutil.rmtree(folder)
    for name, value in weights[0].items():
        for other in weights[1:]:
            torch.testing.assert_close(other[name], value, atol=2e-5, rtol=1e-4)


def test_parts_that_a_batch_does_not_have_are_refused(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"cannot share evenly in 3 parts each; choose a multiple of 3 .* accumulate"):
        tuned(tiny, SupervisedLearner, "trainer.accumulate=3")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here: that needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_named_costs_no_earlier_output_and_the_stage_runs_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    project = small_disk / "project"
    (project / "data").mkdir(parents=True)
    (project / "conf").symlink_to(ROOT / "conf")
    (project / "data/raw").symlink_to(ROOT / "data/raw")
    shutil.copy(ROOT / "params.yaml", project)
    words = [*TINY, "fine_tune.batch_size=8", "fine_tune.epochs=1", "fine_tune.control_epochs=1"]
    env = {"TMPDIR": str(small_disk)}
    for name in ("prepare", "pretrain_load", "fine_tune"):
        done = run_fork([name, *words], project, env, tmp_path)
        assert done.code == 0, done.err
    before = digest(project / "data")
    room = shutil.disk_usage(small_disk).free
    with (small_disk / "ballast").open("wb") as file:
        file.write(bytes(room - 3_000_000))
    done = run_fork(["fine_tune", *words, "fine_tune.lr=1e-3"], project, env, tmp_path)
    assert done.code == 2, done.err
    assert "the disk is full" in done.err
    assert "run the same command again" in done.err
    assert "Traceback" not in done.err
    assert digest(project / "data") == before
    (small_disk / "ballast").unlink()
    done = run_fork(["fine_tune", *words, "fine_tune.lr=1e-3"], project, env, tmp_path)
    assert done.code == 0, done.err
    assert digest(project / "data") != before
