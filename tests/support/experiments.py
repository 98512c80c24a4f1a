"""Components and experiments as their yaml files describe them, without Hydra, which takes a tenth of a second.

tests/config/test_compose.py shows that Hydra composes the same.
"""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from decant.config.compose import ROLES, Values, composed
from decant.experiment.components import INTERFACES, build
from decant.experiment.experiment import Experiment
from support.paths import ROOT

NAMES = {role: sorted(file.stem for file in (ROOT / "conf" / kind).glob("*.yaml")) for role, kind in ROLES.items()}
"""The names of the components that each role can have."""
COMPONENTS = [(role, name) for role, names in NAMES.items() for name in names]


def choices(number: int) -> list[str]:
    """The overrides that choose component `number` in every role; roles with fewer components begin again."""
    return [f"use.{role}={names[number % len(names)]}" for role, names in NAMES.items()]


def yaml_values(file: Path) -> dict[str, Any]:
    """The content of a yaml file, with the values of variables in it."""
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def component(role: str, name: str) -> Any:
    """A component in a role."""
    file = f"conf/{ROLES[role]}/{name}.yaml"
    return build(yaml_values(ROOT / file), INTERFACES[ROLES[role]], file)


@cache
def default() -> Values:
    return composed([], ROOT)


def config_of(*overrides: str) -> Values:
    """The config that `composed` gives."""
    config, values = deepcopy(default()), []
    for override in overrides:
        key, _, name = override.lstrip("+").partition("=")
        role = key.removeprefix("use.")
        if key == "trainer":
            config["trainer"] = yaml_values(ROOT / f"conf/trainer/{name}.yaml")
        elif role in ROLES:
            config["use"][role] = name
            config[role] = yaml_values(ROOT / f"conf/{ROLES[role]}/{name}.yaml")
        else:
            values.append(override.lstrip("+"))
    merged = OmegaConf.to_container(OmegaConf.merge(config, OmegaConf.from_dotlist(values)))
    assert isinstance(merged, dict)
    return {str(key): value for key, value in merged.items()}


def experiment_of(*overrides: str) -> Experiment:
    """The experiment that `Experiment.load` gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decant.experiment.experiment.composed", lambda *_: config_of(*overrides))
        return Experiment.load()
