import re
import tomllib

import pytest
from support.paths import ROOT


def dependencies() -> set[str]:
    """Names of all distributions that pyproject.toml requires or constraints.txt pins, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    requirements += (ROOT / "constraints.txt").read_text().splitlines()
    names = [re.match(r"[\w.-]+", requirement) for requirement in requirements]
    return {name.group().lower().replace("_", "-") for name in names if name}


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_nothing_pulls_a_torchvision_from_the_index(name: str) -> None:
    """It is built for another torch than a CPU build, and then transformers and torchmetrics no longer import."""
    assert {"torch", "transformers"} <= dependencies()
    assert name not in dependencies()
