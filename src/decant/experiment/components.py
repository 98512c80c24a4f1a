"""Builds the components of an experiment: the objects that the names under `use` stand for."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from types import UnionType
from typing import Any, get_args, get_origin

from hydra.utils import instantiate

from decant.augment import Augment
from decant.backbone import Backbone
from decant.config.compose import ROLES
from decant.config.validation import key_problems
from decant.core.errors import UserError, suggestion
from decant.data import Source
from decant.loss import Loss
from decant.pretrain import Pretrain
from decant.task import Task
from decant.training.adaptation import Adapt

INTERFACES: dict[str, type] = {
    "data": Source,
    "task": Task,
    "pretrain": Pretrain,
    "backbone": Backbone,
    "adapt": Adapt,
    "augment": Augment,
    "loss": Loss,
}
"""The base class of every component of a kind."""


def build_components(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The component in each role of a composed config, and every problem that keeps one from being built."""
    components: dict[str, Any] = {}
    problems: list[str] = []
    for role, kind in ROLES.items():
        file = f"conf/{kind}/{config['use'][role]}.yaml"
        try:
            components[role] = build(config[role], INTERFACES[kind], file)
        except UserError as error:
            problems += error.problems
    return components, problems


def build(values: Any, interface: type, file: str) -> Any:
    """The component that the `values` of `file` describe.

    Raises:
        UserError: no class, unknown or missing keys, values of another type or out of range.
    """
    target = component_class(values, file)
    parameters = inspect.signature(target, eval_str=True).parameters
    named = {k: p for k, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    required = [k for k, p in named.items() if p.default is p.empty]
    given = {str(k): v for k, v in values.items() if k != "_target_"}
    if problems := key_problems(file, given, list(named), required):
        raise UserError(problems)
    if wrong := [k for k, v in given.items() if not has_type(v, named[k].annotation)]:
        raise UserError([f"{file}: {k} is {given[k]!r}, expected {type_name(named[k].annotation)}" for k in wrong])
    component = instantiated(values, file)
    if not isinstance(component, interface):
        raise UserError(f"{file}: _target_ {values['_target_']} is no {interface.__name__}; choose one")
    return component


def component_class(values: Any, file: str) -> Any:
    """The class under `_target_`."""
    if not isinstance(values, Mapping) or "_target_" not in values:
        raise UserError(f"{file} has no _target_; expected keys, and the class of the component under this one")
    module, _, name = str(values["_target_"]).rpartition(".")
    try:
        imported = import_module(module)
    except Exception as error:
        raise UserError(f"{file}: _target_ {values['_target_']} cannot be imported: {error}; correct it") from error
    if not hasattr(imported, name):
        near = suggestion(name, dir(imported))
        raise UserError(f"{file}: _target_ {values['_target_']}: {module} has no {name!r}{near}; correct it")
    return getattr(imported, name)


def instantiated(values: Any, file: str) -> Any:
    """The object that Hydra builds; its constructor may refuse values."""
    try:
        return instantiate(values, _convert_="all")
    except Exception as error:
        cause = error.__cause__ or error
        problems = cause.problems if isinstance(cause, UserError) else [str(cause)]
        raise UserError([f"{file}: {problem}" for problem in problems]) from error


def has_type(value: Any, annotation: Any) -> bool:
    """Whether a value of a yaml, and each element of a list or mapping, has an annotated type."""
    if isinstance(annotation, UnionType):
        return any(has_type(value, option) for option in get_args(annotation))
    plain, elements = get_origin(annotation) or annotation, get_args(annotation)
    if elements and isinstance(value, list) and plain is list:
        return all(has_type(item, elements[0]) for item in value)
    if elements and isinstance(value, dict) and plain is dict:
        return all(has_type(item, elements[1]) for item in value.values())
    if plain is Any or not isinstance(plain, type) or plain is inspect.Parameter.empty or isinstance(value, dict):
        return True
    return isinstance(value, float | int if plain is float else plain)


def type_name(annotation: Any) -> str:
    """An annotated type, for a message."""
    name = annotation.__name__ if type(annotation) is type else str(annotation)
    return name.replace("None", "null").replace(" | ", " or ")
