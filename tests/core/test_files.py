import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from decant.core.errors import UserError
from decant.core.files import check_writable, read_json, replacing, write_json


def test_equal_values_have_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": {"é": None, "B": True}})
    assert (tmp_path / "a.json").read_bytes() == (
        b'{\n "a": {\n  "B": true,\n  "\xc3\xa9": null\n },\n "b": [\n  1,\n  2.5\n ]\n}\n'
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    value = {"a": [1, 0.1, "ü", None, True], "b": {}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe"])
def test_a_damaged_file_is_named_with_the_next_step(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a.json is damaged, no JSON .* run: dvc repro"):
        read_json(tmp_path / "a.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("old")
    return tmp_path / "out"


def test_a_folder_is_replaced_as_a_whole(folder: Path) -> None:
    with replacing(folder) as new:
        (new / "new").write_text("new")
        assert (folder / "old").exists()
    assert [f.name for f in folder.iterdir()] == ["new"]
    assert [f.name for f in folder.parent.iterdir()] == ["out"]


def test_a_failure_leaves_the_old_folder_as_it_was(folder: Path) -> None:
    with pytest.raises(IsADirectoryError), replacing(folder) as new:
        new.write_text("not possible")
    assert [(f.name, f.read_text()) for f in folder.iterdir()] == [("old", "old")]
    assert [f.name for f in folder.parent.iterdir()] == ["out"]


def test_the_output_of_a_stage_is_readable_by_every_user(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        with replacing(tmp_path / "a/out") as new:
            (new / "inner").mkdir(0o700)
            save_file({"weight": torch.zeros(2)}, new / "inner/model.safetensors")  # for its owner alone
    finally:
        os.umask(mask)
    modes = {str(f.relative_to(tmp_path)): f.stat().st_mode & 0o777 for f in (tmp_path / "a/out").rglob("*")}
    assert modes == {"a/out/inner": 0o755, "a/out/inner/model.safetensors": 0o644}
    assert (tmp_path / "a/out").stat().st_mode & 0o777 == 0o755


def test_ranks_above_zero_write_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with replacing(folder) as new:
        (new / "new").write_text("new")
    assert not new.exists()
    assert [f.name for f in folder.iterdir()] == ["old"]


def test_a_folder_that_can_be_written_is_left_as_it_is(folder: Path) -> None:
    check_writable(folder)
    check_writable(folder.parent / "a/b")
    assert not (folder.parent / "a/b").exists()
    assert [f.name for f in folder.iterdir()] == ["old"]


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_in_the_way_is_named(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=rf"{path} cannot be written: .*; free the path"):
        check_writable(tmp_path / path)
