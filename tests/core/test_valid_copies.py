from pathlib import Path

import pytest

from decant.core import valid_copies

LOCK = """schema: '2.0'
stages:
  prepare:
    cmd: python -m decant.prepare
    deps:
    - path: data/raw
      hash: md5
      md5: 0123.dir
    outs:
    - path: data/prepare
      hash: md5
      md5: 4567.dir
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, content in (("dvc.lock", LOCK), ("params.yaml", "seed: 1\n"), ("provenance.json", "{}\n")):
        Path(name).write_text(content)
    return tmp_path


@pytest.mark.parametrize("name", valid_copies.FILES)
def test_the_last_valid_copy_outlives_a_file_that_is_cut(name: str) -> None:
    content = Path(name).read_bytes()
    valid_copies.save()
    for left in (0, 1):
        Path(name).write_bytes(content[:left])
        valid_copies.save()
        assert valid_copies.saved(name) == content


def test_a_later_valid_file_replaces_the_copy() -> None:
    valid_copies.save()
    Path("params.yaml").write_text("seed: 2\n")
    valid_copies.save()
    assert valid_copies.saved("params.yaml") == b"seed: 2\n"
    assert sorted(f.name for f in valid_copies.FOLDER.iterdir()) == sorted(valid_copies.FILES)


def test_files_that_are_not_there_are_passed_over() -> None:
    Path("dvc.lock").unlink()
    valid_copies.save()
    assert valid_copies.saved("dvc.lock") is None


def test_a_copy_that_is_damaged_itself_is_not_used() -> None:
    valid_copies.save()
    (valid_copies.FOLDER / "params.yaml").write_bytes(b"")
    assert valid_copies.saved("params.yaml") is None


def test_a_dvc_lock_is_damaged_wherever_it_is_cut_but_after_a_complete_entry() -> None:
    """What ends after an entry is valid: DVC runs the stages again whose further entries it does not find."""
    lines = LOCK.splitlines(keepends=True)
    ends = [n + 1 for n, line in enumerate(lines) if "md5: " in line or "cmd: " in line]
    valid = [LOCK[:n] for n in range(len(LOCK) + 1) if not valid_copies.damage("dvc.lock", LOCK[:n].encode())]
    assert valid == ["".join(lines[:n]) for n in ends]
    assert len(valid) == 3


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("dvc.lock", "", "has 0 bytes"),
        ("params.yaml", "\0\0", "cannot be read"),
        ("params.yaml", "seed", "holds a str"),
        ("params.yaml", "use: {data: toy", "cannot be read"),
        ("provenance.json", '{"prepare": {', "cannot be read"),
        ("provenance.json", "[]", "holds a list"),
        ("dvc.lock", "stages: {}", "lacks its schema"),
    ],
)
def test_damage_is_described(name: str, content: str, problem: str) -> None:
    assert valid_copies.damage(name, content.encode()).startswith(problem)
