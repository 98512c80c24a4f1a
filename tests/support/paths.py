"""Where the project and the optional data sets are."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("DECANT_DATA", ROOT.parent / "shared" / "data"))
"""Data sets and weights that are not in the repository; tests that read them are skipped without."""
