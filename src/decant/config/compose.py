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

from decant.config.schema import SECTIONS, Trainer
from decant.core.errors import UserError, fits, guess, hint

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
KNOWN = ["seed", "use", "trainer", *SECTIONS, *ROLES]
"""The keys of the whole config."""


def load(overrides: Sequence[str] = (), root: Path | None = None) -> DictConfig:
    """Compose conf/ with params.yaml under `root` (default: here), and check all of it.

    `overrides` are Hydra's: ["use.loss=none", "distill.lr=1e-4", "trainer=cpu"]; `loss=none` is short for
    `use.loss=none`.

    Raises:
        UserError: with every unknown piece, misspelt key and value out of range.
    """
    root = (root or Path()).resolve()
    if missing := [name for name in ("params.yaml", "conf") if not (root / name).exists()]:
        raise UserError(f"no {missing[0]} in {root}; run from the project folder (it holds params.yaml and conf/)")
    params = parsed(root / "params.yaml")
    # a piece's section here would take effect behind DVC's back
    if problems := _keys("params.yaml", params, ["seed", "use", *SECTIONS]):
        raise UserError(problems)
    use, rest = _chosen(params.use, overrides)
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
        raise UserError(f"the config does not compose: {error}\nCorrect it in conf/, or on the command line") from error
    _check(cfg)
    return cfg


def parsed(file: Path) -> DictConfig:
    """The keys and values of a yaml file.

    Raises:
        UserError: it has none.
    """
    try:
        found = OmegaConf.load(file)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{file.name} does not parse: {error}; correct it, or take it from git again") from error
    if not isinstance(found, DictConfig):
        raise UserError(f"{file.name} is a list, expected keys with values; correct it, or take it from git again")
    return found


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
    given = flat(parsed(folder / f"{name}.yaml"))
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
    return _typed(SECTIONS[name], cfg[name])


def piece(cfg: DictConfig, role: str) -> Any:
    """The object that `use.<role>` names, built from conf/<kind>/<name>.yaml."""
    return instantiate(cfg[role], _convert_="all")


def _chosen(use: Any, overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The names under `use`, and the overrides of all else."""
    if not isinstance(use, DictConfig):
        raise UserError(f"use in params.yaml is {use!r}, expected a name for each of: {', '.join(ROLES)}")
    names, rest, problems = {str(k): v for k, v in use.items()}, [], []
    for override in overrides:
        key, equals, value = override.partition("=")
        top, dot, _ = key.lstrip("+~").partition(".")
        if not equals and not override.startswith("~"):
            problems.append(
                f"{override!r} on the command line has no value; expected <key>=<value>, as fine_tune.lr=1e-4"
            )
        elif key in ROLES or key.startswith("use."):
            names[key.removeprefix("use.")] = value
        else:
            problems += _keys("the command line", [top], KNOWN, [])
            # added if it is not there: Hydra would know no better word, and what nothing reads is told below
            rest.append(f"++{override}" if dot and override[0] not in "+~" else override)
    if problems:
        raise UserError(problems)
    return names, rest


def _check_use(use: dict[str, Any], root: Path) -> None:
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
    problems = _keys("params.yaml", cfg, KNOWN)
    for name in SECTIONS:
        problems += _check_section(cfg, name, SECTIONS[name], "params.yaml") if name in cfg else []
    problems += _check_section(cfg, "trainer", Trainer, "conf/trainer/")
    for role, kind in ROLES.items():
        problems += _check_piece(cfg, role, kind)
    if not isinstance(cfg.get("seed"), int) or not 0 <= cfg.seed < 2**32:
        problems.append(f"seed is {cfg.get('seed')!r}, expected a whole number from 0 to 2^32 - 1")
    if problems:
        raise UserError(problems)


def _typed(kind: type, values: Any) -> Any:
    return kind(**OmegaConf.to_container(OmegaConf.merge(kind, values)))  # type: ignore[arg-type]


def _check_section(cfg: DictConfig, name: str, kind: type, file: str) -> list[str]:
    keys = [f.name for f in fields(kind)]
    if not isinstance(given := cfg[name], DictConfig) and given is not None:
        return [f"{name} in {file} is {given!r}, expected the keys: {', '.join(keys)}"]
    if problems := _keys(f"{name} in {file}", given or {}, keys):
        return problems
    try:
        _typed(kind, given)
    except UserError as error:
        return [f"{name}.{p}" for p in error.problems]
    except OmegaConfBaseException as error:
        return [f"{name} in {file}: {str(error).splitlines()[0]} (key {error.full_key})"]
    return []


def _check_piece(cfg: DictConfig, role: str, kind: str) -> list[str]:
    file = f"conf/{kind}/{cfg.use[role]}.yaml"
    if not isinstance(cfg[role], DictConfig) or "_target_" not in cfg[role]:
        return [f"{file} has no _target_; expected keys, and the class of the piece under this one"]
    module, _, name = str(cfg[role]._target_).rpartition(".")
    try:
        found = import_module(module)
    except Exception as error:
        return [f"{file}: _target_ {cfg[role]._target_} cannot be imported: {error}; correct it"]
    if not hasattr(found, name):
        return [f"{file}: _target_ {cfg[role]._target_}: {module} has no {name!r}{guess(name, dir(found))}; correct it"]
    signature = inspect.signature(getattr(found, name), eval_str=True)
    parameters = {k: p for k, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    required = [k for k, p in parameters.items() if p.default is p.empty]
    given = [str(k) for k in cfg[role] if k != "_target_"]
    problems = _keys(file, given, list(parameters), required)
    if problems:
        return problems
    values = OmegaConf.to_container(cfg[role])
    assert isinstance(values, dict)
    if odd := [k for k in given if not fits(values[k], parameters[k].annotation)]:
        return [f"{file}: {k} is {values[k]!r}, expected {hint(parameters[k].annotation)}" for k in odd]
    try:
        built = piece(cfg, role)
    except Exception as error:
        cause = error.__cause__ or error
        return [f"{file}: {p}" for p in (cause.problems if isinstance(cause, UserError) else [str(cause)])]
    base = getattr(import_module(f"decant.{kind}"), "Source" if kind == "data" else kind.capitalize())
    if not isinstance(built, base):
        return [f"{file}: _target_ {cfg[role]._target_} is no {base.__name__} of decant.{kind}; choose one"]
    return []


def _keys(where: str, given: Any, known: list[str], required: list[str] | None = None) -> list[str]:
    unknown = [str(k) for k in given if k not in known]
    missing = [k for k in (known if required is None else required) if k not in given]
    return [
        f"{where} has the key {k!r}, which nothing reads{guess(k, known)}; known keys: {', '.join(known)}"
        for k in unknown
    ] + [f"{where} lacks the key {k!r}; add it" for k in missing]


if __name__ == "__main__":
    from decant.experiment import compatible  # its pieces take a second to import, and stages import this module

    try:
        whole = load(sys.argv[1:])
        compatible.check(whole)
        print(OmegaConf.to_yaml(whole), end="")
    except UserError as error:
        print(*(f"decant: {p}" for p in error.problems), sep="\n", file=sys.stderr)
        sys.exit(2)
