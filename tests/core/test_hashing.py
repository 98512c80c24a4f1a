import hashlib
from pathlib import Path

import pytest

from decant.core import hashing
from decant.core.hashing import code_digest, digest, md5, sha256


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("same_step", [False, True])
def test_a_file_is_read_once_unless_it_changes(
    same_step: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a step of the clock the time of change does not tell, so the file is read again."""
    monkeypatch.setattr(hashing, "CLOCK_STEP", 10**18 if same_step else -(10**18))
    reads: list[str] = []
    file_digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: reads.append(file.name) or file_digest(file, kind))
    (tmp_path / "a").write_bytes(b"abd")
    assert sha256(tmp_path / "a") == sha256(tmp_path / "a")
    assert len(reads) == (2 if same_step else 1)
    (tmp_path / "a").write_bytes(b"abcd")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abcd").hexdigest()


def test_the_md5_of_a_file_is_its_name_in_the_cache_of_dvc(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello\n")
    assert md5(tmp_path / "a") == "b1946ac92492d2347c6235b4d2611184"


def test_a_digest_is_of_names_and_contents_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "folder/c").mkdir(parents=True)
    (tmp_path / "folder/c/file").write_bytes(b"x")
    (tmp_path / "folder/b").write_bytes(b"y")
    (tmp_path / "folder/empty").mkdir()
    content = b"b\0" + hashlib.sha256(b"y").digest() + b"c/file\0" + hashlib.sha256(b"x").digest()
    assert digest(tmp_path / "folder") == hashlib.sha256(content).hexdigest()


def test_the_digest_of_a_single_file_does_not_depend_on_its_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a") == hashlib.sha256(b".\0" + hashlib.sha256(b"x").digest()).hexdigest()


def test_a_moved_or_changed_file_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    digests = set()
    for name, content in (("a", b"x"), ("a", b"y"), ("b", b"y")):
        for file in (tmp_path / "folder").iterdir():
            file.unlink()
        (tmp_path / "folder" / name).write_bytes(content)
        digests.add(digest(tmp_path / "folder"))
    assert len(digests) == 3


def test_the_digest_of_code_is_the_md5_of_its_file() -> None:
    content = Path(hashing.__file__).read_bytes()
    assert code_digest(hashing) == hashlib.md5(content).hexdigest()
    assert code_digest(Path) != code_digest(hashing)
