"""The state of a training is kept while it runs, and one that was killed goes on from there (see state.py)."""

import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from decant.core.hashing import sha256
from decant.training import callbacks
from decant.training.datamodule import Data

SECOND = 1.0
"""Epochs that take less are not kept one by one: writing would take longer than training."""


class Keep(Callback):
    """Keeps the state of a training at the end of each epoch, and every `minutes` between.

    In `folder` there is one file, named by its sha256: a torn one is known by its name.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder, self.minutes = folder, minutes
        self.saved = time.monotonic()

    def latest(self) -> Path | None:
        """The state to go on from; none: there is none that is whole."""
        for file in sorted(self.folder.glob("*.ckpt")):
            wrong = "is torn" if sha256(file) != file.stem else "" if ours(file) else "is no state of ours"
            if not wrong:
                print(f"going on from {file}", flush=True)
                return file
            print(f"{file} {wrong}, and not used", flush=True)
        return None

    def said(self) -> str:
        """What is kept, for a message."""
        kept = next(self.folder.glob("*.ckpt"), None)
        return f"the last good state is kept in {kept}" if kept else "there is no state from before"

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Between two steps, never at an epoch's last: Lightning would then go on without its validation."""
        loop = trainer.fit_loop.epoch_loop
        if loop.batch_progress.is_last_batch or loop._should_accumulate():
            return
        if self.due(trainer, 60 * self.minutes):
            self.keep(trainer, trainer.current_epoch, loop.batch_progress.current.ready)

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:  # noqa: D102
        if self.due(trainer, SECOND) or trainer.current_epoch + 1 == trainer.max_epochs:
            self.keep(trainer, trainer.current_epoch + 1, 0)

    def due(self, trainer: pl.Trainer, seconds: float) -> bool:
        """Whether so many have passed since the last time, on any of the devices; all of them hear the same."""
        return trainer.strategy.reduce_boolean_decision(time.monotonic() - self.saved >= seconds, all=False)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """The place in the data; Lightning keeps none."""
        checkpoint["place"] = self.place

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """For the batches that are to come; they are set up before Lightning would know."""
        data: Data = trainer.datamodule  # type: ignore[attr-defined]
        data.place = tuple(checkpoint["place"])

    def keep(self, trainer: pl.Trainer, epoch: int, passed: int) -> None:
        """Write the state from which a training goes on with this epoch, after as many of its batches."""
        callbacks.good(trainer)  # it takes the place of one that is
        self.place = (epoch, passed)
        fresh = self.folder / "fresh"
        trainer.save_checkpoint(fresh)
        if trainer.is_global_zero:
            synced(fresh)
            kept = fresh.rename(self.folder / f"{sha256(fresh)}.ckpt")
            synced(self.folder)
            older = set(self.folder.glob("*.ckpt")) - {kept}
            for file in older:
                file.unlink()
        self.saved = time.monotonic()


def synced(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk: the power may go once the older are deleted."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ours(file: Path) -> bool:
    """Whether a file is a state that `Keep` wrote; nothing that it says is run."""
    try:
        return "place" in torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError):  # no class of its own
        return False
