from pathlib import Path

import yaml
from support.commands import run_here
from support.paths import ROOT

from decant.config.compose import composed


def test_the_printed_config_is_the_composed_one(project: Path) -> None:
    done = run_here(["cli", "config", "distill.lr=1e-4", "trainer=cpu"], project)
    assert (done.code, done.err) == (0, "")
    assert yaml.safe_load(done.out) == composed(["distill.lr=1e-4", "trainer=cpu"], ROOT)


def test_the_printed_config_is_checked(project: Path) -> None:
    done = run_here(["cli", "config", "use.augment=flip"], project)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("decant: augment flip is for image data, but data support is text")
