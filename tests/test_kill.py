"""Stages that are killed at a random moment, as benchmarks/kill.py does it at length."""

from pathlib import Path

import kill
import pytest

pytestmark = pytest.mark.slow


def test_killed_stages_go_on_and_end_with_the_same_bytes(tmp_path: Path) -> None:
    whole = kill.cloned(tmp_path / "whole", kill.SMALL)
    assert kill.repro(whole).wait() == 0, (whole / "log.txt").read_text()
    took = {stage: 0.8 * kill.durations(whole)[stage] + kill.IMPORTS for stage in ("fine_tune", "distill")}
    _, killed, _, end, runs = kill.one(tmp_path / "killed", kill.SMALL, whole, took, seed=1)
    log = (tmp_path / "killed/log.txt").read_text()
    assert killed, log  # how far a stage was by then depends on the machine; test_resume.py says what goes on
    assert (end, runs) == ("byte-equal", "whole"), (killed, log)
