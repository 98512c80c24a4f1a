import os
from pathlib import Path

import pytest

from decant.core import locks
from decant.core.errors import UserError


def test_a_lock_names_its_holder_and_is_free_after_the_block(tmp_path: Path) -> None:
    file = tmp_path / "new/x.lock"
    assert locks.is_free(file)
    with locks.exclusive(file, "it runs"):
        assert not locks.is_free(file)
        assert locks.read_holder(file)["pid"] == os.getpid()
        with pytest.raises(UserError, match=f"it runs already: process {os.getpid()} on .*, since 2.*; wait for it"):
            locks.exclusive(file, "it runs").__enter__()
    assert locks.is_free(file)


def test_the_holder_of_a_damaged_lock_is_not_known(tmp_path: Path) -> None:
    for content in ("", "{", "[1]", "\0"):
        (tmp_path / "x.lock").write_text(content)
        assert locks.read_holder(tmp_path / "x.lock") == {}


def test_a_later_process_with_the_same_pid_is_not_the_holder(tmp_path: Path) -> None:
    with locks.exclusive(tmp_path / "x.lock", "x"):
        holder = locks.read_holder(tmp_path / "x.lock")
    assert locks.is_alive(holder)
    assert not locks.is_alive(holder | {"started": holder["started"] - 100})
    assert not locks.is_alive(holder | {"pid": 2**30})
    assert locks.is_alive(holder | {"host": "elsewhere", "pid": 2**30})
