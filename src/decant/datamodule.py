"""Batches of tokenised text: made once per stage, bucketed by length, split over the devices."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedTokenizerBase

from decant import UserError, run

LENGTHS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Batches are padded to one of these, so that few distinct shapes occur."""
POOL = 16
"""Batches that are sorted by length together: more wastes less padding, and shuffles less."""

PREPARED = Path("data/prepare")
Batch = dict[str, torch.Tensor]
Tables = dict[str, pd.DataFrame]


@dataclass(slots=True)
class Row:
    """One tokenised example; `target` -1: no label; `soft`: the teacher's logits (C,), if there is one."""

    tokens: list[int]
    target: int
    soft: np.ndarray | None = None


def read() -> Tables:
    """The tables of `prepare`: {split: row_id, input, target}."""
    return {f.stem: pd.read_parquet(f) for f in sorted(PREPARED.glob("*.parquet"))}


def labels() -> list[str]:
    """The names of the classes, in the order of their indices."""
    return list(run.read_json(PREPARED / "card.json")["labels"])


def digests() -> dict[str, str]:
    """Which data this is: {split: sha256 of its table}."""
    return {split: str(facts["sha256"]) for split, facts in run.read_json(PREPARED / "card.json")["splits"].items()}


def tokenise(frames: Tables, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, list[Row]]:
    """{split: rows}, in the order of the tables."""
    rows = {}
    for split, frame in frames.items():
        tokens = tokenizer(frame["input"].tolist(), truncation=True, max_length=max_length)["input_ids"]
        rows[split] = [Row(t, int(y)) for t, y in zip(tokens, frame["target"], strict=True)]
    return rows


def collate(rows: Sequence[Row]) -> Batch:
    """Tensors of a batch: input_ids and attention_mask (B, T), target (B,), soft (B, C) if there is one.

    T is the first of `LENGTHS` that holds the longest row. Padding is id 0, masked.
    """
    longest = max(len(r.tokens) for r in rows)
    width = next((n for n in LENGTHS if n >= longest), longest)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row.tokens)] = torch.tensor(row.tokens)
        mask[i, : len(row.tokens)] = 1
    batch = {"input_ids": ids, "attention_mask": mask, "target": torch.tensor([r.target for r in rows])}
    if rows[0].soft is not None:
        batch["soft"] = torch.from_numpy(np.stack([r.soft for r in rows if r.soft is not None]))
    return batch


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
    shuffled. All batches are full: the rows left over (fewer than a batch, others each epoch) wait.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, rank: int, world: int) -> None:
        self.lengths, self.batch_size, self.rank, self.world = lengths, batch_size, rank, world
        self.sampler = EpochShuffle(len(lengths), seed)  # the name Lightning looks for

    def batches(self) -> list[list[int]]:
        """The global batches of the epoch."""
        order = list(self.sampler)[: len(self) * self.batch_size]
        pool = POOL * self.batch_size
        batches = []
        for start in range(0, len(order), pool):
            part = sorted(order[start : start + pool], key=lambda i: self.lengths[i])
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        shuffle = np.random.default_rng([self.sampler.seed, self.sampler.epoch, 1])
        return [batches[i] for i in shuffle.permutation(len(batches))]

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches():
            yield batch[self.rank :: self.world]

    def __len__(self) -> int:
        return len(self.lengths) // self.batch_size


class TextData(pl.LightningDataModule):
    """Training and validation batches from rows in memory."""

    def __init__(self, train: list[Row], validation: list[Row], batch_size: int, seed: int) -> None:
        super().__init__()
        self.train, self.validation, self.seed = train, validation, seed
        self.batch_size = batch_size
        if batch_size > len(train):
            raise UserError(f"batch_size is {batch_size}, but there are only {len(train)} training rows; lower it")

    def setup(self, stage: str) -> None:
        """Check that the batch can be shared.

        Raises:
            UserError: the global batch does not divide by the devices.
        """
        world = self._trainer().world_size
        if world > len(self.validation):
            raise UserError(f"{world} devices cannot share {len(self.validation)} validation rows; use fewer devices")
        if self.batch_size % world:
            raise UserError(
                f"batch_size is {self.batch_size}, which {world} devices cannot share evenly; choose a multiple of "
                f"{world} (for example {math.ceil(self.batch_size / world) * world}) or other devices"
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Full batches of like lengths."""
        trainer = self._trainer()
        lengths = [len(r.tokens) for r in self.train]
        buckets = LengthBuckets(lengths, self.batch_size, self.seed, trainer.global_rank, trainer.world_size)
        return DataLoader(self.train, batch_sampler=buckets, collate_fn=collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        """Each validation row once, over all devices together: nothing is padded with copies."""
        trainer = self._trainer()
        rows = sorted(self.validation, key=lambda r: len(r.tokens))[trainer.global_rank :: trainer.world_size]
        return DataLoader(rows, batch_size=64, collate_fn=collate)  # type: ignore[arg-type]

    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None
        return self.trainer
