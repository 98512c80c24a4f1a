"""A training that was killed and goes on ends with the bytes of one that ran in one piece."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_project import BACKBONES, RUN_OVERRIDES, STAGE_OVERRIDES, RecordedRun, write_prepared, write_teacher

from decant import distill
from decant.adapt import Adapt
from decant.config import compose
from decant.config.compose import piece, settings
from decant.core.hashing import digest
from decant.distillation.distiller import Distiller
from decant.fine_tune import FineTuner
from decant.tracking.runs import Run
from decant.training import checkpoint
from decant.training.checkpoint import Keep
from decant.training.train import train

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),
]


class Killed(BaseException):
    """As SIGKILL: nothing below may catch it."""


class Fragile:
    """Dies once, after so many batches."""

    left: int | None = None

    def on_train_batch_end(self, *_: Any) -> None:
        if Fragile.left is not None:
            Fragile.left -= 1
            if Fragile.left == 0:
                Fragile.left = None
                raise Killed


class FragileTuner(Fragile, FineTuner): ...


class FragileDistiller(Fragile, Distiller): ...


@pytest.fixture
def tiny(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    monkeypatch.setattr(checkpoint, "SECOND", 0.0)  # epochs here are short
    return project


def tuned(kind: str, adapt: str, words: list[str], folder: Path, tracked: Run) -> None:
    cfg = compose.load([*RUN_OVERRIDES, *STAGE_OVERRIDES, f"use.adapt={adapt}", *words])
    how: Adapt = piece(cfg, "adapt")
    knobs = settings(cfg, "fine_tune")
    train(cfg, knobs, Path("data/pretrain_load/teacher"), folder, tracked, FragileTuner, how)


def dying(make: Any, project: Path, batches: list[int]) -> tuple[RecordedRun, RecordedRun]:
    """Made in one piece to `whole`, and to `parts` with a kill after so many batches of each attempt."""
    whole, parts = RecordedRun(None), RecordedRun(project / ".state")
    make(project / "whole", whole)
    for left in batches:
        Fragile.left = left
        with pytest.raises(Killed):
            make(project / "parts", parts)
    make(project / "parts", parts)
    assert digest(project / "parts") == digest(project / "whole")
    return whole, parts


@pytest.mark.parametrize("minutes", [0, 60])
@pytest.mark.parametrize(
    ("kind", "adapt", "words"),
    [
        ("text", "full", []),
        ("text", "full", ["fine_tune.ema=0.9"]),
        ("text", "full", ["trainer.accumulate=2", "fine_tune.ema=0.9"]),
        ("text", "gradual", []),
        ("text", "layerwise", []),
        ("text", "lora", []),
        ("text", "probe_then_full", []),
        ("text", "full", ["use.augment=words"]),
        ("image", "gradual", ["use.augment=images"]),
        ("image", "full", ["use.augment=mixup", "fine_tune.ema=0.9"]),
        ("image", "full", ["adapt.batch_norm=frozen"]),
    ],
)
def test_every_way_to_train_goes_on_as_if_nothing_had_happened(
    kind: str, adapt: str, words: list[str], minutes: int, tiny: Path
) -> None:
    write_prepared(kind, 3)
    write_teacher(BACKBONES[kind])
    make = partial(tuned, kind, adapt, [*words, f"trainer.save_minutes={minutes}"])
    whole, parts = dying(make, tiny, [2, 3, 1] if not minutes else [5, 4])
    told = {k: v for k, v in whole.kept.items() if "seconds" not in k[0]}
    assert {k: v for k, v in parts.kept.items() if "seconds" not in k[0]} == pytest.approx(told, rel=1e-5)


def taught(words: list[str], folder: Path, tracked: Run) -> None:
    cfg = compose.load([*RUN_OVERRIDES, *STAGE_OVERRIDES, *words])
    knobs = settings(cfg, "distill")
    start = Path("data/pretrain_load/teacher")
    distill.teach(cfg, knobs, start, folder, tracked, piece(cfg, "loss"), ("test",), FragileDistiller)


@pytest.mark.parametrize(
    "words",
    [["use.loss=kd"], ["use.loss=hint"], ["use.loss=sum"], ["use.augment=words", "distill.consistent=true"]],
    ids=" ".join,
)
def test_a_student_goes_on_learning_from_its_teacher(words: list[str], tiny: Path) -> None:
    write_prepared("text", 3)
    write_teacher(BACKBONES["text"])
    tuned("text", "full", ["fine_tune.epochs=1"], Path("data/fine_tune"), Run())
    dying(partial(taught, words), tiny, [2, 3, 1])


def test_a_torn_state_is_known_and_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = Keep(tmp_path, 5)
    assert keep.latest() is None
    torch.save({"place": (1, 2)}, tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    file = tmp_path / f"{hashlib.sha256(content).hexdigest()}.ckpt"
    file.write_bytes(content[:-1])
    assert keep.latest() is None
    assert "is torn, and not used" in capsys.readouterr().out
    file.write_bytes(content)
    assert keep.latest() == file


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04 half an archive"])
def test_a_foreign_file_is_known_and_not_used(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{hashlib.sha256(content).hexdigest()}.ckpt").write_bytes(content)
    assert Keep(tmp_path, 5).latest() is None
    assert "is no state of ours, and not used" in capsys.readouterr().out


def test_a_state_is_on_the_disk_before_the_older_one_goes(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_prepared("text", 3)
    write_teacher(BACKBONES["text"])
    said: list[str] = []
    monkeypatch.setattr(checkpoint.os, "fsync", lambda _: said.append("synced"))
    unlink = Path.unlink

    def noted(file: Path, **options: bool) -> None:
        if file.suffix == ".ckpt":
            said.append("deleted")
        unlink(file, **options)

    monkeypatch.setattr(Path, "unlink", noted)
    tuned("text", "full", [], tiny / "out", RecordedRun(tiny / ".state"))
    assert said[:5] == ["synced", "synced", "synced", "synced", "deleted"]  # a file and its name, of two epochs
