"""Saves the state of a training while it runs, so that an interrupted one resumes from there (see core/resume.py)."""

import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from decant.core.hashing import sha256
from decant.training.callbacks import check_finite
from decant.training.datamodule import DataModule

MIN_SECONDS = 1.0
"""Shorter epochs are not saved one by one: writing would take longer than training."""


class ResumeCheckpoint(Callback):
    """Saves the state of a training at the end of each epoch, and every `minutes` in between.

    `folder` holds one file, named by its sha256: an incomplete file has another name.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder, self.minutes = folder, minutes
        self.saved_at = time.monotonic()

    def latest(self) -> Path | None:
        """The state to resume from; None: there is no valid one."""
        for file in sorted(self.folder.glob("*.ckpt")):
            if problem := state_problem(file):
                print(f"{file} {problem}, and is not used", flush=True)
                continue
            print(f"resuming from {file}", flush=True)
            return file
        return None

    def describe(self) -> str:
        """The saved state, for a message."""
        file = next(self.folder.glob("*.ckpt"), None)
        return f"the last good state is saved in {file}" if file else "no earlier state was saved"

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Save between two steps, never at an epoch's last: Lightning would then resume without its validation."""
        loop = trainer.fit_loop.epoch_loop
        if loop.batch_progress.is_last_batch or loop._should_accumulate():
            return
        if self.is_due(trainer, 60 * self.minutes):
            self.save(trainer, trainer.current_epoch, loop.batch_progress.current.ready)

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: object) -> None:  # noqa: D102
        if self.is_due(trainer, MIN_SECONDS) or trainer.current_epoch + 1 == trainer.max_epochs:
            self.save(trainer, trainer.current_epoch + 1, 0)

    def is_due(self, trainer: pl.Trainer, seconds: float) -> bool:
        """Whether the last save was so long ago, on any of the devices; all of them get the same answer."""
        return trainer.strategy.reduce_boolean_decision(time.monotonic() - self.saved_at >= seconds, all=False)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Add the position in the data, which Lightning does not save."""
        checkpoint["position"] = self.position

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Set the position before the batches are set up; Lightning would know it only afterwards."""
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        data.position = tuple(checkpoint["position"])

    def save(self, trainer: pl.Trainer, epoch: int, batches: int) -> None:
        """Write the state from which a training resumes with `epoch`, after `batches` of its batches."""
        check_finite(trainer)  # it replaces a state that is finite
        self.position = (epoch, batches)
        new = self.folder / "new"
        trainer.save_checkpoint(new)
        if trainer.is_global_zero:
            sync_to_disk(new)
            file = new.rename(self.folder / f"{sha256(new)}.ckpt")
            sync_to_disk(self.folder)
            for old in set(self.folder.glob("*.ckpt")) - {file}:
                old.unlink()
        self.saved_at = time.monotonic()


def sync_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk: older states are deleted next."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def state_problem(file: Path) -> str:
    """Why a file is no state of a training; empty: it is one."""
    if sha256(file) != file.stem:
        return "is incomplete"
    return "" if is_resume_state(file) else "is no state of decant"


def is_resume_state(file: Path) -> bool:
    """Whether `ResumeCheckpoint` wrote a file; nothing in it is executed."""
    try:
        return "position" in torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError):  # torch has no class for it
        return False
