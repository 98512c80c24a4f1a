"""Problems with the values of a config, in words: pydantic's errors as sentences with the next step."""

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from decant.core.errors import suggestion
from decant.core.redaction import holds_credential

Model = TypeVar("Model", bound=BaseModel)
NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def validated(kind: type[Model], values: object, name: str, file: str) -> tuple[Model | None, list[str]]:
    """The values of section `name` in `file` as an object of `kind`; or None, and every problem with them."""
    known = list(kind.model_fields)
    if not isinstance(values, Mapping) and values is not None:
        return None, [f"{name} in {file} is {values!r}, expected the keys: {', '.join(known)}"]
    if problems := key_problems(f"{name} in {file}", values or {}, known, known):
        return None, problems
    try:
        return kind.model_validate(values), []
    except ValidationError as error:
        return None, list(dict.fromkeys(f"{name}.{sentence(kind, values, e)}" for e in error.errors()))


def key_problems(where: str, keys: Iterable[object], known: list[str], required: Iterable[str]) -> list[str]:
    """Unknown and missing keys of `where`, each with what to do about it."""
    present = [str(k) for k in keys]
    unknown = [k for k in present if k not in known]
    return [
        f"{where} has the key {k!r}, which nothing reads{suggestion(k, known)}; known keys: {', '.join(known)}"
        for k in unknown
    ] + [f"{where} lacks the key {k!r}; add it" for k in required if k not in present]


def credential_problems(file: str | None, name: str, value: object) -> Iterator[str]:
    """The credentials in `value`, which is under `name` in `file` (default: params.yaml), and what to do about them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from credential_problems(file, name, str(key))
            yield from credential_problems(file, f"{name}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            yield from credential_problems(file, name, item)
    elif isinstance(value, str) and holds_credential(value):
        yield (
            f"{name} in {file or 'params.yaml'} is {value}, without the credential that it holds; DVC and MLflow would "
            "keep that: remove it, and fetch a file that needs one into data/raw/ first"
        )


def sentence(kind: type[BaseModel], values: Any, error: ErrorDetails) -> str:
    """One error of pydantic: which key, its value, what was expected."""
    if not error["loc"]:  # of a validator of the whole section
        return str(error["ctx"]["error"])
    key = str(error["loc"][0])
    return f"{key} is {values[key]!r}, expected {expected(kind.model_fields[key])}"


def expected(field: FieldInfo) -> str:
    """The values that a field takes, in words: "in [0, 1)", "above 0, or null", "one of: all, used"."""
    return described(field.annotation, field.metadata)


def described(annotation: Any, metadata: Iterable[Any]) -> str:
    """The values of an annotated type, in words."""
    origin = get_origin(annotation)
    if origin in (types.UnionType, Union):
        options = [part for part in get_args(annotation) if part is not type(None)]
        words = " or ".join(described(part, metadata) for part in options)
        return f"{words}, or null" if len(options) < len(get_args(annotation)) else words
    if hasattr(annotation, "__metadata__"):  # Annotated
        return described(annotation.__origin__, [*metadata, *annotation.__metadata__])
    if origin is Literal:
        return f"one of: {', '.join(map(str, get_args(annotation)))}"
    if origin in (list, dict):
        plurals = [f"{NOUNS[part].removeprefix('a ')}s" for part in get_args(annotation)]
        return f"a list of {plurals[0]}" if origin is list else f"a mapping of {' to '.join(plurals)}"
    return bounded(NOUNS[annotation], {k: v for m in metadata for k, v in bounds(m).items()})


def bounds(constraint: object) -> dict[str, float]:
    """{"gt": 0.0} of annotated_types.Gt(0), or of a pydantic Field that holds such."""
    inner = getattr(constraint, "metadata", None)
    if inner is not None:
        return {k: v for part in inner for k, v in bounds(part).items()}
    return {k: getattr(constraint, k) for k in ("gt", "ge", "lt", "le") if getattr(constraint, k, None) is not None}


def bounded(noun: str, limits: Mapping[str, float]) -> str:
    """A number between limits, in words."""
    low, high = (next((limits[k] for k in keys if k in limits), None) for keys in (("gt", "ge"), ("lt", "le")))
    if low is not None and high is not None:
        return f"{noun} in {'(' if 'gt' in limits else '['}{low:g}, {high:g}{')' if 'lt' in limits else ']'}"
    if low is not None:
        return f"{noun} above {low:g}" if "gt" in limits else f"{noun}, {low:g} or more"
    return noun
