"""Where the project and the optional data sets are."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOREIGN = ("MLFLOW_", "DVC_", "GIT_", "DECANT_PROJECT", "DECANT_INVOCATION", "DECANT_EXPERIMENT", "DECANT_SEEDS_RUN")
"""Variables of a command that begin so: one that ran in this process before may have left them (MLflow sets the address
of its store), and they would lead the next one to another store."""
SHARED_DATA = Path(os.environ.get("DECANT_DATA", ROOT.parent / "shared" / "data"))
"""Data sets and weights that are not in the repository; tests that read them are skipped without."""
