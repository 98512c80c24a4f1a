"""Batches for Lightning: bucketed by length, divided over the devices."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Sampler

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Batches, Row

POOL = 16
"""Batches whose rows are sorted by length together: a larger pool wastes less padding, and shuffles less."""
VALIDATION_BATCH = 64


class EpochShuffle(Sampler[int]):
    """A permutation that depends on (seed, epoch) alone; Lightning calls `set_epoch`."""

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
    """Batches of rows of similar length, in random order; each device takes its share of every batch.

    Shuffled rows are divided into pools, a pool is sorted by length and divided into batches, and the batches are
    shuffled. All batches are full: the remaining rows (fewer than a batch, others each epoch) are left out. A device
    gets its share of a batch in `parts`, whose gradients are accumulated.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, rank: int, world: int, parts: int = 1
    ) -> None:
        self.lengths, self.batch_size, self.rank, self.world, self.parts = lengths, batch_size, rank, world, parts
        self.sampler = EpochShuffle(len(lengths), seed)  # Lightning looks for this name
        self.skip = 0
        """Parts to leave out at the start of the next pass: a resumed training has processed them."""

    def batches(self) -> list[list[int]]:
        """The global batches of the epoch."""
        order = list(self.sampler)[: len(self.lengths) // self.batch_size * self.batch_size]
        pool = POOL * self.batch_size
        batches = []
        for start in range(0, len(order), pool):
            by_length = sorted(order[start : start + pool], key=lambda i: self.lengths[i])
            batches += [by_length[i : i + self.batch_size] for i in range(0, len(by_length), self.batch_size)]
        shuffle = np.random.default_rng([self.sampler.seed, self.sampler.epoch, 1])
        return [batches[i] for i in shuffle.permutation(len(batches))]

    def __iter__(self) -> Iterator[list[int]]:
        skip, self.skip = self.skip, 0
        shares = (batch[self.rank :: self.world] for batch in self.batches())
        yield from islice((share[part :: self.parts] for share in shares for part in range(self.parts)), skip, None)

    def __len__(self) -> int:
        return len(self.lengths) // self.batch_size * self.parts


class DataModule(pl.LightningDataModule):
    """Training and validation batches from rows in memory.

    `shrink`: use a smaller batch where there are fewer rows than `batch_size`; `section`: the key of params.yaml that
    holds `batch_size`, for messages.
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
        self.name = f"{section}.batch_size" if section else "batch_size"
        self.train, self.validation, self.encoder, self.seed = train, validation, encoder, seed
        self.batch_size, self.shrink = batch_size, shrink
        self.position = (0, 0)
        """Epoch and batch at which training starts."""
        if batch_size > len(train) and not shrink:
            raise UserError(f"{self.name} is {batch_size}, but there are only {len(train)} training rows; lower it")

    def setup(self, stage: str) -> None:
        """Check that the batch can be divided.

        Raises:
            UserError: the global batch is no multiple of the number of devices.
        """
        world, parts = self._trainer().world_size, self._trainer().accumulate_grad_batches
        if world > len(self.validation):
            raise UserError(f"{world} devices cannot share {len(self.validation)} validation rows; use fewer devices")
        shares = world * parts
        if self.shrink and self.batch_size > len(self.train):
            self.batch_size = len(self.train) // shares * shares
        if self.batch_size % shares or not self.batch_size:
            raise UserError(
                f"{self.name} is {self.batch_size}, which {world} devices cannot share evenly in {parts} parts each; "
                f"choose a multiple of {shares} (for example {max(1, math.ceil(self.batch_size / shares)) * shares}), "
                "other devices, or another accumulate in conf/trainer/"
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Full batches of rows of similar length."""
        trainer = self._trainer()
        lengths = [self.encoder.length(r.input) for r in self.train]
        rank, world, parts = trainer.global_rank, trainer.world_size, trainer.accumulate_grad_batches
        buckets = LengthBuckets(lengths, self.batch_size, self.seed, rank, world, parts)
        epoch, buckets.skip = self.position
        buckets.sampler.set_epoch(epoch)  # Lightning sets it after it has asked for the first batch
        return DataLoader(self.train, batch_sampler=buckets, collate_fn=self.encoder.collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        """Each validation row once, over all devices together: nothing is padded with copies."""
        trainer = self._trainer()
        by_length = sorted(self.validation, key=lambda r: self.encoder.length(r.input))
        rank_rows = by_length[trainer.global_rank :: trainer.world_size]
        return DataLoader(rank_rows, VALIDATION_BATCH, collate_fn=self.encoder.collate)  # type: ignore[arg-type]

    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None
        return self.trainer
