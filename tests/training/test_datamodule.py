"""Batches of rows of similar length, shared by devices."""

from types import SimpleNamespace

import numpy as np
import pytest
from support.tiny_networks import TokenRows

from decant.dataset.modality import Row
from decant.dataset.modality.text_encoder import PADDED_LENGTHS
from decant.training.datamodule import DataModule, LengthBuckets

ROW_LENGTHS = np.random.default_rng(0).integers(3, 120, 1003).tolist()


def epoch(number: int, rank: int = 0, world: int = 1, seed: int = 0) -> list[list[int]]:
    buckets = LengthBuckets(ROW_LENGTHS, 32, seed, rank, world)
    buckets.sampler.set_epoch(number)
    return list(buckets)


def test_an_epoch_takes_each_row_once_in_full_batches() -> None:
    batches = epoch(0)
    assert {len(b) for b in batches} == {32}
    assert len(batches) == 1003 // 32
    assert len({i for b in batches for i in b}) == len(batches) * 32


def test_seed_and_epoch_alone_decide_the_order() -> None:
    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)
    assert epoch(3) != epoch(3, seed=1)


def test_devices_share_each_batch_evenly() -> None:
    for batch, first, second in zip(epoch(1), epoch(1, 0, 2), epoch(1, 1, 2), strict=True):
        assert sorted(batch) == sorted(first + second)
        assert len(first) == len(second) == 16


def test_rows_left_over_change_from_epoch_to_epoch() -> None:
    first, second = (set(range(1003)) - {i for batch in epoch(e) for i in batch} for e in range(2))
    assert first != second


def test_buckets_waste_less_padding_than_random_batches() -> None:
    def padded(batches: list[list[int]]) -> int:
        return sum(max(ROW_LENGTHS[i] for i in b) * len(b) for b in batches)

    order = np.random.default_rng(0).permutation(992).reshape(31, 32).tolist()
    assert padded(epoch(0)) < 0.7 * padded(order)


def test_batches_have_few_distinct_shapes() -> None:
    rows = [Row([1] * n, 0) for n in ROW_LENGTHS]
    shapes = {tuple(TokenRows().collate([rows[i] for i in b])["input_ids"].shape) for b in epoch(0)}
    assert {s[1] for s in shapes} <= set(PADDED_LENGTHS)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_number_of_steps_does_not_depend_on_the_devices(world: int) -> None:
    assert len(LengthBuckets(ROW_LENGTHS, 32, 0, 0, world)) == 31


@pytest.mark.parametrize(("rows", "size"), [(63, 62), (200, 64)])
def test_a_batch_that_may_shrink_is_shared_evenly(rows: int, size: int) -> None:
    equal_rows = [Row([1], 0)] * rows
    data = DataModule(equal_rows, equal_rows, TokenRows(), 64, 0, shrink=True)
    data.trainer = SimpleNamespace(world_size=2, global_rank=0, accumulate_grad_batches=1)
    data.setup("fit")
    assert data.batch_size == size
    assert all(len(batch["target"]) == size / 2 for batch in data.train_dataloader())
