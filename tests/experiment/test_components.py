from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any

import pytest
from support.experiments import COMPONENTS, NAMES, choices, config_of

from decant.config.compose import ROLES
from decant.core.errors import UserError
from decant.data import Source
from decant.experiment.components import INTERFACES, build, build_components, has_type, type_name
from decant.loss import Loss
from decant.loss.kd import KD

KD_VALUES = {"_target_": "decant.loss.kd.KD", "temperature": 2.0, "hard_weight": 0.5, "standardise": False}


@cache
def built(number: int) -> tuple[dict[str, Any], list[str]]:
    """Component `number` in every role, built once for all roles."""
    return build_components(config_of(*choices(number)))


@pytest.mark.parametrize(("role", "name"), COMPONENTS)
def test_every_component_can_be_built_in_every_role(role: str, name: str) -> None:
    components, problems = built(NAMES[role].index(name))
    assert problems == []
    assert isinstance(components[role], INTERFACES[ROLES[role]])


def test_a_component_has_the_values_of_its_yaml() -> None:
    loss = build(KD_VALUES, Loss, "conf/loss/kd.yaml")
    assert isinstance(loss, KD)
    assert (loss.temperature, loss.hard_weight) == (2.0, 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"kd.yaml has no _target_; expected keys"),
        ({"temperature": 2.0}, r"kd.yaml has no _target_"),
        (KD_VALUES | {"_target_": "decant.loss.kdd.KD"}, r"_target_ decant.loss.kdd.KD cannot be imported"),
        (KD_VALUES | {"_target_": "decant.loss.kd.KDD"}, r"decant.loss.kd has no 'KDD' \(did you mean 'KD'\?\)"),
        ({"_target_": "decant.data.digits.Digits"}, r"kd.yaml lacks the key|is no Loss; choose one"),
        (KD_VALUES | {"temprature": 1.0}, r"has the key 'temprature', .* \(did you mean 'temperature'\?\)"),
        ({"_target_": "decant.loss.kd.KD"}, r"kd.yaml lacks the key 'temperature'"),
        (KD_VALUES | {"temperature": "hot"}, r"kd.yaml: temperature is 'hot', expected float"),
        (KD_VALUES | {"temperature": -1.0}, r"kd.yaml: temperature is -1.0, expected"),
    ],
)
def test_a_yaml_that_describes_no_component_is_named_with_the_problem(values: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(values, Loss, "conf/loss/kd.yaml")


def test_a_component_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"_target_ decant.loss.kd.KD is no Source; choose one"):
        build(KD_VALUES, Source, "conf/data/kd.yaml")


def test_the_problems_of_all_components_are_gathered() -> None:
    config = config_of("loss.temperature=-1", "data.leaks=ignore")
    components, problems = build_components(config)
    assert [problem.partition(":")[0] for problem in problems] == ["conf/data/support.yaml", "conf/loss/kd.yaml"]
    assert components.keys() == ROLES.keys() - {"data", "loss"}


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (1, float, True),
        (1.5, int, False),
        (None, str | None, True),
        (None, str, False),
        (["a"], list[str], True),
        ("a", list[str] | str, True),
        (3, list[str] | str, False),
        ({"a": 1}, int, True),  # a mapping may be a nested component
        (Path(), object, True),
    ],
)
def test_values_of_a_yaml_are_compared_with_annotated_types(value: object, annotation: object, fits: bool) -> None:
    assert has_type(value, annotation) == fits


def test_types_are_written_as_in_yaml() -> None:
    assert type_name(str | NoneType) == "str or null"
    assert type_name(list[str]) == "list[str]"
    assert type_name(int) == "int"
