"""A problem that a check found, and the folder for what a remedy takes out of use."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

QUARANTINE = Path(".state/quarantine")


@dataclass(frozen=True)
class Finding:
    """One problem, in words."""

    problem: str
    remedy: str
    """What a person does about it."""
    heal: Callable[[], str] | None = None
    """Heals it and says what was done; None: decant cannot, or must not decide. It may leave a part: check again."""


HEAL = "decant doctor --heal"
"""The remedy of a finding with `heal`."""


def quarantine(file: Path) -> Path:
    """Move a damaged file away, so that nothing is lost; its path there."""
    target = QUARANTINE / f"{time.time_ns()}-{file.name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(file, target)
    return target
