from pathlib import Path

import numpy as np
import pytest

from decant.core.errors import UserError
from decant.models import predictions
from decant.models.logits_storage import Storage

DIGESTS = {"train": "1", "test": "2", "unlabelled": "3"}
LOGITS = np.random.default_rng(0).normal(0, 4, (50, 20)).astype(np.float32)
IDS = [str(i) for i in range(50)]


def round_trip(folder: Path, storage: Storage, split: str = "train") -> np.ndarray:
    predictions.write(folder, {"train": (IDS, LOGITS), "test": (IDS, LOGITS)}, DIGESTS, storage)
    return predictions.read(folder, split, IDS, DIGESTS[split])


def test_they_come_back_by_row_id_in_any_order(tmp_path: Path) -> None:
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    predictions.write(tmp_path, {"test": (["a", "b", "c"], logits), "train": (["a"], logits[:1])}, DIGESTS)
    assert predictions.read(tmp_path, "test", ["c", "a"], "2").tolist() == [[4.0, 5.0], [0.0, 1.0]]


def test_those_of_other_data_are_refused(tmp_path: Path) -> None:
    predictions.write(tmp_path, {"test": (["a"], np.zeros((1, 2), np.float32))}, DIGESTS)
    with pytest.raises(UserError, match="made from other test data than data/prepare holds"):
        predictions.read(tmp_path, "test", ["a"], "changed")


def test_a_split_that_was_not_predicted_is_named(tmp_path: Path) -> None:
    predictions.write(tmp_path, {"test": (["a"], np.zeros((1, 2), np.float32))}, DIGESTS)
    with pytest.raises(UserError, match="has no predictions on train"):
        predictions.read(tmp_path, "train", ["a"], "1")


@pytest.mark.parametrize(("ids", "asked"), [(["a", "a"], ["a"]), (["a", "b"], ["a", "c"])], ids=["twice", "not there"])
def test_each_row_has_to_be_there_once(tmp_path: Path, ids: list[str], asked: list[str]) -> None:
    predictions.write(tmp_path, {"test": (ids, np.zeros((2, 2), np.float32))}, DIGESTS)
    with pytest.raises(UserError, match="does not hold each row of test once"):
        predictions.read(tmp_path, "test", asked, "2")


@pytest.mark.parametrize(("file", "what"), [("model.safetensors", "model"), ("tokenizer.json", "preprocessing")])
def test_those_of_another_model_or_preprocessing_are_refused(tmp_path: Path, file: str, what: str) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("before")
    round_trip(tmp_path, Storage())
    (tmp_path / file).write_text("after")
    with pytest.raises(UserError, match=f"made by another {what} than .* holds now"):
        predictions.read(tmp_path, "test", IDS, "2")


def test_those_of_an_ensemble_are_refused_when_one_member_is_another(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"seed_{number}").mkdir()
        (tmp_path / f"seed_{number}" / "model.safetensors").write_text(str(number))
    round_trip(tmp_path, Storage())
    (tmp_path / "seed_2" / "model.safetensors").write_text("other")
    with pytest.raises(UserError, match="another model"):
        predictions.read(tmp_path, "test", IDS, "2")


def test_without_the_model_beside_them_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("teacher")
    round_trip(tmp_path, Storage())
    (tmp_path / "model.safetensors").unlink()
    assert np.array_equal(predictions.read(tmp_path, "test", IDS, "2"), LOGITS)


def test_those_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        predictions.read(tmp_path, "test", ["a"], "2")
    assert caught.value.filename == str(tmp_path / "predictions.parquet")
