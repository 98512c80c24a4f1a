"""Logits of soft targets stored in less space."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.special import softmax

from decant.models import predictions
from decant.models.logits_storage import Storage

DIGESTS = {"train": "1", "test": "2", "unlabelled": "3"}
LOGITS = np.random.default_rng(0).normal(0, 4, (50, 20)).astype(np.float32)
IDS = [str(i) for i in range(50)]


def written_and_read(folder: Path, storage: Storage, split: str = "train") -> np.ndarray:
    predictions.write(folder, {"train": (IDS, LOGITS), "test": (IDS, LOGITS)}, DIGESTS, storage)
    return predictions.read(folder, split, IDS, DIGESTS[split])


def test_half_precision_rounds_soft_targets_and_nothing_else(tmp_path: Path) -> None:
    actual = written_and_read(tmp_path, Storage(dtype="float16"))
    assert np.array_equal(actual, LOGITS.astype(np.float16).astype(np.float32))
    assert np.array_equal(predictions.read(tmp_path, "test", IDS, "2"), LOGITS)


def test_the_largest_classes_keep_their_probability_and_the_others_share_the_rest(tmp_path: Path) -> None:
    actual, expected = (
        softmax(written_and_read(tmp_path, Storage(top_k=3)).astype(float), 1),
        softmax(LOGITS.astype(float), 1),
    )
    top = np.argsort(-LOGITS, axis=1)[:, :3]
    np.testing.assert_allclose(np.take_along_axis(actual, top, 1), np.take_along_axis(expected, top, 1), rtol=1e-5)
    rest = np.sort(actual, axis=1)[:, :-3]
    np.testing.assert_allclose(rest, np.repeat(rest[:, :1], 17, axis=1), rtol=1e-5)
    assert np.array_equal(predictions.read(tmp_path, "test", IDS, "2"), LOGITS)


def test_a_top_k_of_all_classes_stores_all_logits(tmp_path: Path) -> None:
    assert np.array_equal(written_and_read(tmp_path, Storage(top_k=20)), LOGITS)


def test_smaller_types_and_top_k_take_less_space(tmp_path: Path) -> None:
    sizes = []
    for storage in (Storage(), Storage(dtype="float16"), Storage(dtype="float16", top_k=3)):
        predictions.write(tmp_path, {"train": (IDS, LOGITS)}, DIGESTS, storage)
        table = pq.read_table(tmp_path / "predictions.parquet")
        sizes.append(sum(table[c].nbytes for c in table.column_names if c not in ("row_id", "split")))
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.7 * sizes[1]
