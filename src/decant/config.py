"""One config for every stage: conf/ says what a name means, params.yaml chooses and tunes.

python -m decant.config [overrides]     prints the whole config, or every problem in it
"""

import inspect
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from decant import UserError, guess
from decant.sections import SECTIONS

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
"""What `use` chooses, and the kind (folder of conf/) each role is chosen from."""


def load(overrides: Sequence[str] = (), root: Path | None = None) -> DictConfig:
    """Compose conf/ with params.yaml under `root` (default: here), and check all of it.

    `overrides` are Hydra's: ["use.loss=none", "distill.lr=1e-4", "trainer=cpu"]; `loss=none` is short for
    `use.loss=none`.

    Raises:
        UserError: with every unknown piece, misspelt key and value out of range.
    """
    root = (root or Path()).resolve()
    try:
        params = DictConfig(OmegaConf.load(root / "params.yaml"))
    except yaml.YAMLError as error:
        raise UserError(f"params.yaml does not parse: {error}") from error
    except FileNotFoundError:
        raise UserError(
            f"no params.yaml in {root}; run from the project folder (it holds params.yaml and conf/)"
        ) from None
    # a piece's section here would take effect behind DVC's back
    if problems := _keys("params.yaml", params, ["seed", "use", *SECTIONS]):
        raise UserError(problems)
    use = dict(params.get("use") or {})
    rest = []
    for override in overrides:
        key, _, value = override.partition("=")
        role = key.removeprefix("use.")
        if role in ROLES:
            use[role] = value
        else:
            rest.append(override)
    _check_use(use, root)
    groups = [f"{k if k == v else f'{v}@{k}'}={use[k]}" for k, v in ROLES.items()]
    chosen = [f"use.{k}={v}" for k, v in use.items()]
    place = str(root).replace("'", "\\'")
    search = f"hydra.searchpath=['file://{place}']"  # quoted: Hydra parses it, and a folder may be called "my project"
    try:
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            cfg = compose("config", [search, *groups, *chosen, *rest])
        OmegaConf.resolve(cfg)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise UserError(f"the config does not compose: {error}") from error
    _check(cfg)
    return cfg


def experiment(name: str, root: Path | None = None) -> list[str]:
    """The values of conf/experiment/<name>.yaml as overrides; it has every key of params.yaml.

    Raises:
        UserError: there is no such file, or its keys are others.
    """
    root = root or Path()
    folder = root / "conf/experiment"
    names = sorted(p.stem for p in folder.glob("*.yaml"))
    if name not in names:
        raise UserError(f"there is no {folder}/{name}.yaml{guess(name, names)}; there are: {', '.join(names)}")
    given = flat(OmegaConf.load(folder / f"{name}.yaml"))
    knobs = [f"{section}.{field.name}" for section, kind in SECTIONS.items() for field in fields(kind)]
    if problems := _keys(f"{folder}/{name}.yaml", given, ["seed", *[f"use.{role}" for role in ROLES], *knobs]):
        raise UserError(problems)
    return ["=".join([key, "null" if value is None else str(value)]) for key, value in given.items()]


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}."""
    if not isinstance(values, DictConfig):
        return {prefix: values}
    items = ((f"{prefix}.{key!s}" if prefix else str(key), value) for key, value in values.items())
    return {k: v for name, value in items for k, v in flat(value, name).items()}


def settings(cfg: DictConfig, name: str) -> Any:
    """The checked values of section `name` of params.yaml as its dataclass."""
    return SECTIONS[name](**OmegaConf.to_container(OmegaConf.merge(SECTIONS[name], cfg[name])))  # type: ignore[arg-type]


def piece(cfg: DictConfig, role: str) -> Any:
    """The object that `use.<role>` names, built from conf/<kind>/<name>.yaml."""
    return instantiate(cfg[role], _convert_="all")


def _check_use(use: dict[str, str], root: Path) -> None:
    problems = _keys("use in params.yaml", use, list(ROLES))
    for role, kind in ROLES.items():
        names = sorted(p.stem for p in (root / "conf" / kind).glob("*.yaml"))
        if role in use and use[role] not in names:
            problems.append(
                f"use.{role} is {use[role]!r}, but there is no conf/{kind}/{use[role]}.yaml"
                f"{guess(str(use[role]), names)}; there are: {', '.join(names)}"
            )
    if problems:
        raise UserError(problems)


def _check(cfg: DictConfig) -> None:
    # "trainer" is hardware, checked where it is used
    known = ["seed", "use", "trainer", *SECTIONS, *ROLES]
    problems = _keys("params.yaml", cfg, known)
    for name in SECTIONS:
        problems += _check_section(cfg, name) if name in cfg else []
    for role, kind in ROLES.items():
        problems += _check_piece(cfg, role, f"conf/{kind}/{cfg.use[role]}.yaml")
    if not isinstance(cfg.get("seed"), int) or not 0 <= cfg.seed < 2**32:
        problems.append(f"seed is {cfg.get('seed')!r}, expected a whole number from 0 to 2^32 - 1")
    if problems:
        raise UserError(problems)


def _check_section(cfg: DictConfig, name: str) -> list[str]:
    problems = _keys(f"{name} in params.yaml", cfg[name] or {}, [f.name for f in fields(SECTIONS[name])])
    if problems:
        return problems
    try:
        settings(cfg, name)
    except UserError as error:
        return [f"{name}.{p}" for p in error.problems]
    except OmegaConfBaseException as error:
        return [f"{name} in params.yaml: {str(error).splitlines()[0]} (key {error.full_key})"]
    return []


def _check_piece(cfg: DictConfig, role: str, file: str) -> list[str]:
    try:
        module, _, name = cfg[role]._target_.rpartition(".")
        signature = inspect.signature(getattr(import_module(module), name))
        parameters = {k: p for k, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    except Exception as error:
        return [f"{file}: _target_ {cfg[role].get('_target_')} cannot be imported: {error}"]
    required = [k for k, p in parameters.items() if p.default is p.empty]
    given = [str(k) for k in cfg[role] if k != "_target_"]
    problems = _keys(file, given, list(parameters), required)
    if problems:
        return problems
    try:
        piece(cfg, role)
    except Exception as error:
        cause = error.__cause__ or error
        found = cause.problems if isinstance(cause, UserError) else [str(cause)]
        return [f"{file}: {p}" for p in found]
    return []


def _keys(where: str, given: Any, known: list[str], required: list[str] | None = None) -> list[str]:
    unknown = [str(k) for k in given if k not in known]
    missing = [k for k in (known if required is None else required) if k not in given]
    return [
        f"{where} has the key {k!r}, which nothing reads{guess(k, known)}; known keys: {', '.join(known)}"
        for k in unknown
    ] + [f"{where} lacks the key {k!r}" for k in missing]


if __name__ == "__main__":
    from decant import compatible  # its pieces take a second to import, and stages import this module

    try:
        whole = load(sys.argv[1:])
        compatible.check(whole)
        print(OmegaConf.to_yaml(whole), end="")
    except UserError as error:
        sys.exit("\n".join(f"decant: {p}" for p in error.problems))
