"""An interrupted training that resumes ends with the bytes of an uninterrupted one."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_project import BACKBONES, RecordedRun, write_prepared, write_teacher
from support.training_jobs import student_training, teacher_job

from decant.core.hashing import digest
from decant.tracking.runs import Run
from decant.training import checkpoint
from decant.training.checkpoint import ResumeCheckpoint
from decant.training.learner import Learner
from decant.training.train import train


class Killed(BaseException):
    """As SIGKILL: nothing below may catch it."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By kind of rows: what `prepare` and `pretrain_load` write, and a teacher."""
    folders = {}
    for kind in ("text", "image"):
        folders[kind] = tmp_path_factory.mktemp(kind)
        (folders[kind] / "data").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folders[kind])
            write_prepared(kind, 3)
            teacher = write_teacher(BACKBONES[kind])
            (teacher.parent / "student").symlink_to("teacher")
            if kind == "text":
                train(teacher_job("fine_tune.epochs=1"), Path("data/fine_tune"))
    return folders


@pytest.fixture
def project_dir(kind: str, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with inputs of one kind."""
    (tmp_path / "data").symlink_to(inputs[kind] / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint, "MIN_SECONDS", 0.0)  # epochs here are short
    return tmp_path


def train_teacher(overrides: list[str], folder: Path, run: Run) -> None:
    train(teacher_job(*overrides, run=run), folder)


def train_student(overrides: list[str], folder: Path, run: Run) -> None:
    student_training(*overrides, run=run).train(folder, ("test",))


def interrupted_and_uninterrupted(
    run_training: Callable[[Path, Run], None], project: Path, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> tuple[RecordedRun, RecordedRun]:
    """The runs of one training in one go, and of one killed after so many batches of each attempt: of equal bytes."""
    uninterrupted, interrupted = RecordedRun(), RecordedRun(project / ".state")
    run_training(project / "uninterrupted", uninterrupted)
    for count in batches:
        remaining = iter(range(count - 1))

        def die(*_: Any, remaining: Any = remaining) -> None:
            if next(remaining, None) is None:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Learner, "on_train_batch_end", die)
            with pytest.raises(Killed):
                run_training(project / "interrupted", interrupted)
    run_training(project / "interrupted", interrupted)
    assert digest(project / "interrupted") == digest(project / "uninterrupted")
    return uninterrupted, interrupted


def without_times(run: RecordedRun) -> dict[tuple[str, int], float]:
    return {key: value for key, value in run.logged.items() if "seconds" not in key[0]}


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [0, 60])
@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("text", []),
        ("text", ["fine_tune.ema=0.9"]),
        ("text", ["trainer.accumulate=2", "fine_tune.ema=0.9"]),
        ("text", ["use.adapt=gradual"]),
        ("text", ["use.adapt=layerwise"]),
        ("text", ["use.adapt=lora"]),
        ("text", ["use.adapt=probe_then_full", "adapt.epochs=6"]),
        ("text", ["use.augment=words"]),
        ("image", ["use.adapt=gradual", "use.augment=images"]),
        ("image", ["use.augment=mixup", "fine_tune.ema=0.9"]),
        ("image", ["adapt.batch_norm=frozen"]),
    ],
)
def test_a_resumed_training_equals_an_uninterrupted_one(
    overrides: list[str], minutes: int, project_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_training = partial(train_teacher, [*overrides, f"trainer.save_minutes={minutes}"])
    batches = [5, 4] if minutes else [2, 3, 1]
    uninterrupted, interrupted = interrupted_and_uninterrupted(run_training, project_dir, batches, monkeypatch)
    assert without_times(interrupted) == pytest.approx(without_times(uninterrupted), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text"])
@pytest.mark.parametrize(
    "overrides",
    [["use.loss=kd"], ["use.loss=hint"], ["use.loss=sum"], ["use.augment=words", "distill.online_teacher=true"]],
    ids=" ".join,
)
def test_a_resumed_distillation_equals_an_uninterrupted_one(
    overrides: list[str], project_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_and_uninterrupted(partial(train_student, overrides), project_dir, [2, 3, 1], monkeypatch)


def test_an_incomplete_state_is_detected_and_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume = ResumeCheckpoint(tmp_path, 5)
    assert resume.latest() is None
    torch.save({"position": (1, 2)}, tmp_path / "complete")
    content = (tmp_path / "complete").read_bytes()
    file = tmp_path / f"{hashlib.sha256(content).hexdigest()}.ckpt"
    file.write_bytes(content[:-1])
    assert resume.latest() is None
    assert "is incomplete, and is not used" in capsys.readouterr().out
    file.write_bytes(content)
    assert resume.latest() == file


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04 half an archive"])
def test_a_foreign_file_is_detected_and_not_used(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{hashlib.sha256(content).hexdigest()}.ckpt").write_bytes(content)
    assert ResumeCheckpoint(tmp_path, 5).latest() is None
    assert "is no state of decant, and is not used" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["text"])
def test_a_state_is_on_the_disk_before_the_older_one_is_deleted(
    project_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(checkpoint.os, "fsync", lambda _: calls.append("synced"))
    unlink = Path.unlink

    def recorded_unlink(file: Path, **options: bool) -> None:
        if file.suffix == ".ckpt":
            calls.append("deleted")
        unlink(file, **options)

    monkeypatch.setattr(Path, "unlink", recorded_unlink)
    train_teacher([], project_dir / "out", RecordedRun(project_dir / ".state"))
    assert calls[:5] == ["synced", "synced", "synced", "synced", "deleted"]  # a file and its name, of two epochs
