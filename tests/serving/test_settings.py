"""A damaged model directory is named by its file and setting when it is opened, or when it first runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decant.core.errors import UserError
from decant.serving.opening import open_predictor
from decant.serving.settings import is_whole, read_json

MISSING = object()


@pytest.fixture
def copied(model_folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a model directory, to be damaged."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(model_folders[name], tmp_path / name))

    return copy


def change(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text()) | values
    file.write_text(json.dumps({name: value for name, value in content.items() if value is not MISSING}))


CONFIG, TOKENIZER, IMAGES = "config.json", "tokenizer_config.json", "preprocessor_config.json"


@pytest.mark.parametrize(
    ("model", "file", "values", "message"),
    [
        ("texts", CONFIG, {"id2label": []}, "id2label is [] (list), expected the names of the classes"),
        ("texts", CONFIG, {"id2label": {}}, "id2label is a mapping of nothing, expected the names"),
        ("texts", CONFIG, {"id2label": {"0": "a", "2": "b"}}, "id2label is a mapping of '0' (str), '2' (str)"),
        ("texts", CONFIG, {"id2label": {"0": "a", "1": None}}, "id2label is a mapping of '0' (str), '1' (NoneType)"),
        ("texts", CONFIG, {"problem_type": "ranking"}, "problem_type is 'ranking' (str), expected one of those"),
        ("texts", CONFIG, {"problem_type": ["regression"]}, "problem_type is ['regression'] (list)"),
        ("texts", CONFIG, {"problem_type": "multi_label_classification"}, "decision_threshold is None (NoneType)"),
        ("texts", CONFIG, {"type_vocab_size": "2"}, "type_vocab_size is '2' (str), expected a whole number"),
        ("texts", CONFIG, {"body": 1}, "body is 1 (int), expected an object"),
        ("texts", TOKENIZER, {"model_max_length": "48"}, "model_max_length is '48' (str), expected a whole number abo"),
        ("texts", TOKENIZER, {"model_max_length": 3}, "model_max_length is 3 (int), expected a whole number above 3"),
        ("texts", TOKENIZER, {"model_max_length": -1}, "model_max_length is -1 (int)"),
        ("texts", TOKENIZER, {"truncation_side": 1}, "truncation_side is 1 (int), expected left or right"),
        ("texts", TOKENIZER, {"pad_token": 1}, "pad_token is 1 (int), expected a token"),
        ("images", IMAGES, {"stored_size": MISSING}, "stored_size is None (NoneType), expected 1 to 4096 pixels"),
        ("images", IMAGES, {"stored_size": 10**9}, "stored_size is 1000000000 (int), expected 1 to 4096 pixels"),
        ("images", IMAGES, {"crop_size": 32}, "crop_size is 32 (int), expected a height of 1 to 4096 pixels"),
        ("images", IMAGES, {"image_mean": [0.5]}, "image_mean is [0.5] (list), expected three numbers"),
        ("images", IMAGES, {"image_std": [0.5, 0, 0.5]}, "image_std is [0.5, 0, 0.5] (list), expected three num"),
        ("images", IMAGES, {"rescale_factor": None}, "rescale_factor is None (NoneType), expected a number above 0"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(
    model: str, file: str, values: dict[str, Any], message: str, copied: Callable[[str], Path]
) -> None:
    folder = copied(model)
    change(folder / file, **values)
    with pytest.raises(UserError) as caught:
        open_predictor(folder)
    assert f"{folder / file}: {message}" in str(caught.value)
    assert "expected a model directory, as dvc repro makes it" in str(caught.value)


@pytest.mark.parametrize("name", [CONFIG, TOKENIZER, "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null"], ids=repr)
def test_a_damaged_file_is_named(name: str, content: bytes | None, copied: Callable[[str], Path]) -> None:
    file = copied("texts") / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"{name} (cannot be read|holds)"):
        open_predictor(file.parent)


def test_all_wrong_settings_are_named_at_once(copied: Callable[[str], Path]) -> None:
    folder = copied("images")
    change(folder / IMAGES, stored_size=0, image_mean=None, image_std=None)
    with pytest.raises(UserError) as caught:
        open_predictor(folder)
    assert len(caught.value.problems) == 3


def test_another_number_of_classes_is_named(copied: Callable[[str], Path]) -> None:
    folder = copied("texts")
    change(folder / CONFIG, id2label={"0": "a", "1": "b"})
    with pytest.raises(UserError, match=r"has outputs of \(1, 3\), its config.json \(1, 2\); make it again"):
        open_predictor(folder)(["a"])


def test_a_token_that_the_network_does_not_know_is_an_error_of_the_model(copied: Callable[[str], Path]) -> None:
    folder = copied("texts")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["parcel"] = 10**6
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    predictor = open_predictor(folder)
    assert predictor(["where is my letter"]).shape == (1, 3)
    with pytest.raises(UserError, match=r"int8/model.onnx cannot run on inputs of the tokenizer .*idx=1000000"):
        predictor(["where is my parcel"])


def test_values_that_are_not_finite_are_no_prediction(texts: Path) -> None:
    predictor = open_predictor(texts)
    predictor.forward = lambda arrays: np.full((len(arrays["input_ids"]), 3), np.nan, np.float32)
    with pytest.raises(UserError, match="returns values that are not finite"):
        predictor(["a"])


def test_a_folder_without_weights_is_named(copied: Callable[[str], Path]) -> None:
    folder = copied("texts")
    for name in ("int8", "onnx"):
        shutil.rmtree(folder / name)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=f"{folder} cannot be read .*; expected a model directory"):
        open_predictor(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds neither of int8/model.onnx, onnx/model.onnx"):
        open_predictor(folder)


def test_the_length_that_transformers_writes_for_no_limit_is_a_whole_number(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": 1000000000000000019884624838656, "b": 10**400}))
    values = read_json(tmp_path / "a.json")
    assert all(is_whole(value, 1, float("inf")) for value in values.values())
    assert not any(is_whole(value, 1, 10) for value in (True, "1", 1.5, float("nan"), 0, 11, None))
