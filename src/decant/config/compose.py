"""Composes params.yaml and conf/ into the config of an experiment: plain values, before any component is built."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from decant.config.environment import declared_variable
from decant.config.schema import SECTIONS
from decant.config.validation import credential_problems, key_problems
from decant.config.yaml_limits import REMEDY, read_yaml
from decant.core.errors import UserError, suggestion
from decant.core.reading import parsing

Values = dict[str, Any]
ROLES = {
    "data": "data",
    "task": "task",
    "source": "data",
    "pretrain": "pretrain",
    "teacher": "backbone",
    "student": "backbone",
    "scratch": "backbone",
    "adapt": "adapt",
    "augment": "augment",
    "loss": "loss",
}
"""The roles under `use`, and the kind (a folder of conf/) of the component in each."""
PARAMS = [name for name in SECTIONS if name != "trainer"]
"""The sections of params.yaml."""
CONFIG_KEYS = ["seed", "use", *SECTIONS, *ROLES]
"""The keys of the whole config."""
DEFAULT = "default"
"""The file in conf/experiment/ that holds every value; the others hold what differs from it."""


def composed(overrides: Sequence[str] = (), root: Path | None = None) -> Values:
    """The whole config: conf/ composed with params.yaml under `root` (default: the working directory).

    `overrides` are Hydra's: ["use.loss=none", "distill.lr=1e-4", "trainer=cpu"]; `loss=none` is short for
    `use.loss=none`. DVC and MLflow keep these values, so none may be a credential.

    Raises:
        UserError: unknown components, misspelt keys, files that do not parse, credentials.
    """
    root = (root or Path()).resolve()
    if missing := [name for name in ("params.yaml", "conf") if not (root / name).exists()]:
        raise UserError(f"no {missing[0]} in {root}; run from the project folder (it holds params.yaml and conf/)")
    params = parse_yaml(root / "params.yaml")
    # a component's key here would take effect without DVC noticing
    if problems := key_problems("params.yaml", params, keys := ["seed", "use", *PARAMS], keys):
        raise UserError(problems)
    use, value_overrides = split_overrides(params["use"], overrides)
    check_use(use, root)
    check_files(use, root)
    groups = [f"{role if role == kind else f'{kind}@{role}'}={use[role]}" for role, kind in ROLES.items()]
    names = [f"use.{role}={name}" for role, name in use.items()]
    config = _compose(root, [*groups, *names, *value_overrides])
    files = {role: f"conf/{kind}/{use[role]}.yaml" for role, kind in ROLES.items()} | {"trainer": "conf/trainer/"}
    if problems := [p for key, value in config.items() for p in credential_problems(files.get(key), key, value)]:
        raise UserError(problems)
    return config


def _compose(root: Path, overrides: Sequence[str]) -> Values:
    folder = str(root).replace("'", "\\'")
    searchpath = f"hydra.searchpath=['file://{folder}']"  # quoted: Hydra parses it, and a folder may be "my project"
    # for the whole process: Hydra resolves values again when it builds a component
    OmegaConf.register_new_resolver("oc.env", declared_variable, replace=True)
    try:
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            config = OmegaConf.to_container(compose("config", [searchpath, *overrides]), resolve=True)
    except Exception as error:  # besides Hydra's and OmegaConf's, those of int() and of recursion
        if refused := _refused_variable(error):
            raise UserError(f"{getattr(error, 'full_key', 'conf/config.yaml')}: {refused}") from error
        raise UserError(f"the config does not compose: {error}\nCorrect it in conf/, or on the command line") from error
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def _refused_variable(error: BaseException | None) -> UserError | None:
    """The refusal of `declared_variable` that `error` comes from: OmegaConf leaves it as the context alone."""
    return error if error is None or isinstance(error, UserError) else _refused_variable(error.__context__)


def parse_yaml(file: Path, name: str | None = None) -> Values:
    """The keys and values of a yaml file; `name`: the file in messages, where it is not that of `file` alone.

    Raises:
        UserError: it does not parse, or is no mapping.
    """
    name = name or file.name
    text = read_yaml(file, name)
    with parsing(f"{name} does not parse", REMEDY):
        content = OmegaConf.load(io.StringIO(text))
    if not isinstance(content, DictConfig):
        raise UserError(f"{name} is a list, expected keys with values; {REMEDY}")
    values = OmegaConf.to_container(content)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def experiment_overrides(name: str, root: Path | None = None) -> list[str]:
    """Every value of the experiment `name` as overrides of params.yaml.

    conf/experiment/default.yaml holds all values; conf/experiment/<name>.yaml those that differ.

    Raises:
        UserError: there is no such file, or it has a key that params.yaml does not know.
    """
    folder = (root or Path()) / "conf/experiment"
    names = sorted(p.stem for p in folder.glob("*.yaml"))
    if name not in names:
        raise UserError(f"there is no {folder}/{name}.yaml{suggestion(name, names)}; there are: {', '.join(names)}")
    known = ["seed", *(f"use.{role}" for role in ROLES)]
    known += [f"{section}.{key}" for section in PARAMS for key in SECTIONS[section].model_fields]
    default, different = (dict(flatten(parse_yaml(folder / f"{n}.yaml"))) for n in (DEFAULT, name))
    problems = key_problems(f"{folder}/{DEFAULT}.yaml", default, known, known)
    if problems := problems + key_problems(f"{folder}/{name}.yaml", different, known, ()):
        raise UserError(problems)
    values = default | different
    return [f"{key}={'null' if value is None else value}" for key, value in values.items()]


def flatten(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{"a": {"b": 1}} → ("a.b", 1); an empty mapping is a value."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def split_overrides(use: object, overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The component names under `use`, overrides applied; and the overrides of all other values."""
    if not isinstance(use, dict):
        raise UserError(f"use in params.yaml is {use!r}, expected a name for each of: {', '.join(ROLES)}")
    names, values, problems = {str(k): v for k, v in use.items()}, [], []
    for override in overrides:
        key, equals, value = override.partition("=")
        section, dot, _ = key.lstrip("+~").partition(".")
        if not equals and not override.startswith("~"):
            problems.append(
                f"{override!r} on the command line has no value; expected <key>=<value>, as fine_tune.lr=1e-4"
            )
        elif key in ROLES or key.startswith("use."):
            names[key.removeprefix("use.")] = value
        else:
            problems += key_problems("the command line", [section], CONFIG_KEYS, [])
            # added where it is missing: Hydra's message would not name a better word, the check of the section does
            values.append(f"++{override}" if dot and override[0] not in "+~" else override)
    if problems:
        raise UserError(problems)
    return names, values


def check_use(use: Mapping[str, object], root: Path) -> None:
    """Refuse roles that do not exist, and component names without a file.

    Raises:
        UserError: with every one.
    """
    problems = key_problems("use in params.yaml", use, list(ROLES), ROLES)
    for role, kind in ROLES.items():
        names = sorted(p.stem for p in (root / "conf" / kind).glob("*.yaml"))
        if role in use and use[role] not in names:
            problems.append(
                f"use.{role} is {use[role]!r}, but there is no conf/{kind}/{use[role]}.yaml"
                f"{suggestion(str(use[role]), names)}; there are: {', '.join(names)}"
            )
    if problems:
        raise UserError(problems)


def check_files(use: Mapping[str, object], root: Path) -> None:
    """Check the yaml files that Hydra is about to open.

    Raises:
        UserError: one is too large or deep, or names further files in `defaults`, which DVC would not watch.
    """
    components = {f"conf/{kind}/{use[role]}.yaml" for role, kind in ROLES.items()}
    trainers = {f"conf/trainer/{file.name}" for file in (root / "conf/trainer").glob("*.yaml")}
    for name in sorted({"conf/config.yaml"} | components | trainers):
        text = read_yaml(root / name, name)
        if name != "conf/config.yaml" and re.search(r"^[\"']?defaults[\"']?\s*:", text, re.MULTILINE):
            raise UserError(f"{name} names other files in defaults:, whose changes DVC would miss; copy their values")
