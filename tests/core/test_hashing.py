import hashlib
from pathlib import Path

from decant.core.hashing import digest


def test_a_digest_is_of_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "b/c").mkdir(parents=True)
    (tmp_path / "b/c/file").write_bytes(b"x")
    wanted = hashlib.sha256(b"c/file\0" + hashlib.sha256(b"x").digest()).hexdigest()
    assert digest(tmp_path / "b") == wanted
