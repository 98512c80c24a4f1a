"""Batches for Lightning: bucketed by length, split over the devices."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Sampler

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Batches, Row

POOL = 16
"""Batches that are sorted by length together: more wastes less padding, and shuffles less."""


class EpochShuffle(Sampler[int]):
    """A permutation that (seed, epoch) alone decides; Lightning calls `set_epoch`."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng([self.seed, self.epoch]).permutation(self.size).tolist())

    def __len__(self) -> int:
        return self.size


class LengthBuckets(Sampler[list[int]]):
    """Batches of rows of like length, in random order; each device takes its share of every batch.

    Shuffled rows are cut into pools, a pool is sorted by length and cut into batches, and the batches are
    shuffled. All batches are full: the rows left over (fewer than a batch, others each epoch) wait. A device gets its
    share of a batch in `parts`, whose gradients are added up.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, rank: int, world: int, parts: int = 1
    ) -> None:
        self.lengths, self.batch_size, self.rank, self.world, self.parts = lengths, batch_size, rank, world, parts
        self.sampler = EpochShuffle(len(lengths), seed)  # the name Lightning looks for
        self.passed = 0
        """Parts at the start of the next pass that are left out: a training that goes on has had them."""

    def batches(self) -> list[list[int]]:
        """The global batches of the epoch."""
        order = list(self.sampler)[: len(self.lengths) // self.batch_size * self.batch_size]
        pool = POOL * self.batch_size
        batches = []
        for start in range(0, len(order), pool):
            part = sorted(order[start : start + pool], key=lambda i: self.lengths[i])
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        shuffle = np.random.default_rng([self.sampler.seed, self.sampler.epoch, 1])
        return [batches[i] for i in shuffle.permutation(len(batches))]

    def __iter__(self) -> Iterator[list[int]]:
        passed, self.passed = self.passed, 0
        shares = (batch[self.rank :: self.world] for batch in self.batches())
        yield from islice((share[part :: self.parts] for share in shares for part in range(self.parts)), passed, None)

    def __len__(self) -> int:
        return len(self.lengths) // self.batch_size * self.parts


class Data(pl.LightningDataModule):
    """Training and validation batches from rows in memory.

    `shrink`: smaller ones, where rows are too few for one; `section`: of params.yaml, where `batch_size` stands.
    """

    def __init__(
        self,
        train: list[Row],
        validation: list[Row],
        encoder: Batches,
        batch_size: int,
        seed: int,
        shrink: bool = False,
        section: str = "",
    ) -> None:
        super().__init__()
        self.knob = f"{section}.batch_size" if section else "batch_size"
        self.train, self.validation, self.encoder, self.seed = train, validation, encoder, seed
        self.batch_size, self.shrink = batch_size, shrink
        self.place = (0, 0)
        """Epoch and batch that training begins with."""
        if batch_size > len(train) and not shrink:
            raise UserError(f"{self.knob} is {batch_size}, but there are only {len(train)} training rows; lower it")

    def setup(self, stage: str) -> None:
        """Check that the batch can be shared.

        Raises:
            UserError: the global batch does not divide by the devices.
        """
        world, parts = self._trainer().world_size, self._trainer().accumulate_grad_batches
        if world > len(self.validation):
            raise UserError(f"{world} devices cannot share {len(self.validation)} validation rows; use fewer devices")
        if self.shrink and self.batch_size > len(self.train):
            self.batch_size = len(self.train) // (world * parts) * world * parts
        if self.batch_size % (world * parts) or not self.batch_size:
            shares = world * parts
            raise UserError(
                f"{self.knob} is {self.batch_size}, which {world} devices cannot share evenly in {parts} parts each; "
                f"choose a multiple of {shares} (for example {max(1, math.ceil(self.batch_size / shares)) * shares}), "
                "other devices, or another accumulate in conf/trainer/"
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Full batches of like lengths."""
        trainer = self._trainer()
        lengths = [self.encoder.length(r.input) for r in self.train]
        place, parts = (trainer.global_rank, trainer.world_size), trainer.accumulate_grad_batches
        buckets = LengthBuckets(lengths, self.batch_size, self.seed, *place, parts)
        epoch, buckets.passed = self.place
        buckets.sampler.set_epoch(epoch)  # Lightning does it after it has asked for the first batch
        return DataLoader(self.train, batch_sampler=buckets, collate_fn=self.encoder.collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        """Each validation row once, over all devices together: nothing is padded with copies."""
        trainer = self._trainer()
        rows = sorted(self.validation, key=lambda r: self.encoder.length(r.input))
        mine = rows[trainer.global_rank :: trainer.world_size]
        return DataLoader(mine, batch_size=64, collate_fn=self.encoder.collate)  # type: ignore[arg-type]

    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None
        return self.trainer
