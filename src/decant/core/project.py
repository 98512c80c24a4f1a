"""The folder of the user's project, which a stage in a private git worktree of it does not work in."""

import os
from pathlib import Path

VARIABLE = "DECANT_PROJECT"
"""The environment variable with the absolute path of the project: `decant experiment` sets it for its stages."""


def root() -> Path:
    """Where what has to outlive a worktree lies: the MLflow store and the events that wait for it. Absolute.

    By default the working directory.
    """
    return Path(os.environ.get(VARIABLE, "")).absolute()
