"""Pipes, devices and links where data should be."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from decant.core.errors import UserError
from decant.data import images
from decant.data.files import fetch
from decant.data.folder import Folder
from decant.data.images import input_column
from decant.data.table import Table

IRREGULAR: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", IRREGULAR)
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_table_that_is_no_regular_file_is_refused_at_once(kind: str, prefix: str, tmp_path: Path) -> None:
    IRREGULAR[kind](tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"a\.csv (cannot be read|is a link)"):
        Table(train=f"{prefix}{tmp_path}/a.csv", input="text", target="intent").load()


@pytest.mark.parametrize("kind", [kind for kind in IRREGULAR if kind != "folder"])
def test_an_image_that_is_no_regular_file_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    (tmp_path / "ants").mkdir()
    IRREGULAR[kind](tmp_path / "ants/1.png")
    with pytest.raises(UserError, match=r"1 file \(ants/1\.png\) cannot be read.*The first: .*1\.png"):
        Folder(path=str(tmp_path), size=8).load()


@pytest.mark.parametrize("kind", [kind for kind in IRREGULAR if kind != "folder"])
def test_an_archive_that_is_no_regular_file_is_refused(kind: str, tmp_path: Path) -> None:
    IRREGULAR[kind](tmp_path / "a.zip")
    with pytest.raises(UserError, match=r"a\.zip (cannot be read|is a link)"):
        Folder(path=str(tmp_path / "a.zip"), size=8).load()


@pytest.mark.parametrize("target", [".", "..", "../ants"])
def test_a_folder_that_links_to_itself_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "ants").mkdir()
    (tmp_path / "ants/again").symlink_to(target)
    (tmp_path / "ants/more").symlink_to(target)  # two would give 2^40 paths
    with pytest.raises(UserError, match=r"ants/(again|more).* is a link to a folder that it is in"):
        Folder(path=str(tmp_path), size=8).load()


def test_a_linked_folder_beside_the_others_is_read(tmp_path: Path) -> None:
    (tmp_path / "images/ants").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "images/bees").symlink_to(tmp_path / "elsewhere")
    for name in ("images/ants/1.png", "elsewhere/2.png"):
        (tmp_path / name).write_bytes(b"x")
    assert Folder(path=str(tmp_path / "images"), size=8).load()["train"]["target"].tolist() == ["ants", "bees"]


def test_images_that_do_not_fit_into_memory_are_refused_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "memory_limit", lambda: 10)
    with pytest.raises(UserError, match="a table: the images do not fit into memory"):
        input_column([b"12345"] * 3, 8, "a table", None)


def test_a_path_with_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.csv").write_bytes(b"x")
    assert fetch("~/a.csv") == b"x"
