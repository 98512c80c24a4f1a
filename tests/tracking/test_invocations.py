"""Which invocation a process takes part in."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from decant.tracking import invocations
from decant.tracking.invocations import claim, finish, folder

Dead = Callable[[bool | None], None]


@pytest.fixture(autouse=True)
def dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dead:
    """Says whether the processes of the records live; at first they do not."""
    monkeypatch.chdir(tmp_path)

    def alive(value: bool | None) -> None:
        monkeypatch.setattr(invocations, "is_alive", lambda process: value)

    alive(False)
    return alive


def test_the_stages_of_one_launcher_take_part_in_one_invocation() -> None:
    first = claim("dvc 1", "work")
    assert claim("dvc 1", "other work").run == first.run
    finish(first.run)
    assert claim("dvc 1", "work").run == first.run


def test_interrupted_work_is_continued_once_and_only_by_the_same_work(dead: Dead) -> None:
    first = claim("dvc 1", "work")
    assert claim("dvc 2", "other work").run != first.run
    second = claim("dvc 3", "work")
    assert (second.run, second.launcher) == (first.run, "dvc 3")
    assert claim("dvc 1", "work").run == first.run


@pytest.mark.parametrize(("alive", "continued"), [(True, False), (False, True), (None, True)])
def test_the_work_of_a_living_process_is_not_taken_over(dead: Dead, alive: bool | None, continued: bool) -> None:
    first = claim("dvc 1", "work")
    dead(alive)
    assert (claim("dvc 2", "work").run == first.run) == continued


def test_finished_work_is_not_continued() -> None:
    first = claim("dvc 1", "work")
    finish(first.run)
    assert claim("dvc 2", "work").run != first.run


def test_damaged_records_are_passed_over_and_old_ones_are_deleted() -> None:
    first = claim("dvc 1", "work")
    for number, content in enumerate([b"", b"{", b"\xff", b"[]", b"7", b'{"run": 1}', b"[" * 100_000]):
        (folder() / f"{number}.json").write_bytes(content)
    (folder() / "folder.json").mkdir()
    (folder() / "link.json").symlink_to("nowhere")
    assert claim("dvc 2", "work").run == first.run
    for number in range(20):
        claim(f"dvc {number + 3}", f"work {number}")
    assert len([*folder().glob("*.json")]) <= invocations.MAX_RECORDS + 2


def test_records_lie_in_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DECANT_PROJECT", str(tmp_path / "project"))
    record = claim("dvc 1", "work")
    assert os.listdir(tmp_path / "project/.state/invocations") == [f"{record.run}.json"]  # noqa: PTH208
