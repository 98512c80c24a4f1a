"""manifest.json of model directories: what it lists, and that damaged, missing and further files are refused."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.model_directories import EXAMPLES

from decant.core import hashing, manifest
from decant.core.errors import UserError
from decant.dataset.modality.text import Text
from decant.models import directory, predictions
from decant.serving import packaging, predictor, pyfunc
from decant.serving.predictor import OnnxPredictor


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def flip_a_byte(file: Path) -> None:
    """As a disk does: the size and the time of change stay."""
    status, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "int8").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "int8/model.onnx"):
        (folder / name).write_text(name)
    manifest.write(folder)
    return folder


def test_a_manifest_lists_its_files_and_the_manifests_below_with_equal_bytes_each_time(folder: Path) -> None:
    first = (folder / "manifest.json").read_bytes()
    (folder / ".DS_Store").write_text("of another program")
    manifest.write(folder)
    assert (folder / "manifest.json").read_bytes() == first
    assert json.loads(first) == {
        "files": {
            "config.json": sha256(b"config.json"),
            "int8/manifest.json": sha256((folder / "int8/manifest.json").read_bytes()),
            "model.safetensors": sha256(b"model.safetensors"),
        }
    }


def test_other_entries_of_a_manifest_stay(tmp_path: Path) -> None:
    manifest.write(tmp_path, origin="here", lr_scale=1)
    manifest.write(tmp_path, lr_scale=2)
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"files": {}, "origin": "here", "lr_scale": 2}


def test_what_was_written_is_accepted(folder: Path) -> None:
    manifest.verify(folder, inner="int8")
    manifest.verify_file(folder / "config.json")
    assert list(manifest.mismatches(folder)) == []


@pytest.mark.parametrize("damage", [flip_a_byte, cut, Path.unlink], ids=["flipped", "cut", "missing"])
@pytest.mark.parametrize("name", ["config.json", "int8/model.onnx", "int8/manifest.json"])
def test_a_damaged_or_missing_file_is_named_with_both_digests_and_the_remedy(
    name: str, damage: Callable[[Path], None], folder: Path
) -> None:
    expected = hashing.sha256(folder / name)
    damage(folder / name)
    with pytest.raises(UserError) as caught:
        manifest.verify(folder, inner="int8")
    message = str(caught.value)
    assert str(folder / name) in message
    assert "run: decant doctor --heal" in message
    if damage is not Path.unlink and "manifest" not in name:
        assert expected in message
        assert sha256((folder / name).read_bytes()) in message


def test_a_file_that_nobody_wrote_there_is_refused(folder: Path) -> None:
    """transformers and the predictor read some files wherever they find them."""
    (folder / "preprocessor_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"preprocessor_config.json .* is not listed in manifest.json; move it away"):
        manifest.verify(folder)


def test_a_folder_inside_that_is_gone_or_belongs_to_another_model_is_found(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.onnx").write_text("other")
    manifest.write(other)
    shutil.rmtree(folder / "int8")
    assert [m.file for m in manifest.mismatches(folder)] == [folder / "int8/manifest.json"]
    other.rename(folder / "int8")
    assert [m.file for m in manifest.mismatches(folder)] == [folder / "int8/manifest.json"]
    with pytest.raises(UserError, match=r"int8/manifest.json is damaged"):
        manifest.verify(folder, inner="int8")


def test_files_that_the_caller_does_not_read_may_be_damaged_or_gone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    manifest.verify(folder, unread=["model.safetensors"], inner="int8")


@pytest.mark.parametrize("content", [None, "[]", '{"name": "of another program"}'])
def test_model_directories_of_other_programs_are_accepted(content: str | None, folder: Path) -> None:
    (folder / "manifest.json").unlink() if content is None else (folder / "manifest.json").write_text(content)
    cut(folder / "config.json")
    manifest.verify(folder)
    manifest.verify_file(folder / "config.json")


def test_a_manifest_that_is_cut_off_is_named(folder: Path) -> None:
    cut(folder / "manifest.json")
    cut(folder / "manifest.json")
    with pytest.raises(UserError, match=r"manifest.json is damaged, no JSON .* decant doctor --heal"):
        manifest.verify(folder)


# --- where model directories are opened


@pytest.fixture
def model(model_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A finished model directory, as `distill` hands it on."""
    folder = Path(shutil.copytree(model_folders["texts"], tmp_path / "model"))
    manifest.write(folder)
    return folder


@pytest.mark.parametrize("name", ["onnx/model.onnx", "config.json", "tokenizer.json"])
def test_a_flipped_byte_is_not_served(name: str, model: Path) -> None:
    assert len(OnnxPredictor(model, "onnx")(EXAMPLES["texts"])) == len(EXAMPLES["texts"])
    flip_a_byte(model / name)
    with pytest.raises(UserError, match=f"{name} is damaged: its sha256 is"):
        OnnxPredictor(model, "onnx")


def test_serving_reads_neither_weights_nor_predictions(model: Path) -> None:
    assert {*predictor.UNREAD} == {"model.safetensors", predictions.FILE}
    (model / "model.safetensors").unlink()
    OnnxPredictor(model, "onnx")


def test_flipped_weights_are_not_loaded(model: Path) -> None:
    directory.load(model, Text())
    flip_a_byte(model / "model.safetensors")
    with pytest.raises(UserError, match=r"model.safetensors is damaged: its sha256 is"):
        directory.load(model, Text())
    with pytest.raises(UserError, match=r"model.safetensors is damaged: its sha256 is"):
        directory.with_head(None, model, directory.Head())


def test_a_logged_model_has_a_manifest_of_the_files_it_holds(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "logged"
    packaging.copy_model(model, copy)
    assert {*(manifest.listed_files(copy) or ())} == {
        "config.json",
        "int8/manifest.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert manifest.listed_files(copy / "int8") == {"model.onnx": hashing.sha256(model / "int8/model.onnx")}
    server = pyfunc.ServedModel()
    server.load_context(SimpleNamespace(artifacts={"model": str(copy)}))
    flip_a_byte(copy / "int8/model.onnx")
    with pytest.raises(UserError, match=r"int8/model.onnx is damaged"):
        server.load_context(SimpleNamespace(artifacts={"model": str(copy)}))


def test_a_damaged_model_is_not_logged(model: Path, tmp_path: Path) -> None:
    flip_a_byte(model / "int8/model.onnx")
    with pytest.raises(UserError, match=r"int8/model.onnx is damaged"):
        packaging.copy_model(model, tmp_path / "logged")
