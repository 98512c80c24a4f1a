"""Reads and checks the JSON files of a model directory: a damaged one is named, with the setting that is wrong."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decant.core.errors import UserError
from decant.serving.limits import parse_json
from decant.serving.preprocessing import describe

EXPECTED_FOLDER = "expected a model directory, as dvc repro makes it"
UNNAMED_LABELS = {"0": "LABEL_0", "1": "LABEL_1"}
"""transformers does not write its default, two classes without names, to config.json."""
PROBLEM_TYPES = (None, "single_label_classification", "multi_label_classification", "regression")


def read_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file of a model directory.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        values = parse_json(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); {EXPECTED_FOLDER}") from error
    if not isinstance(values, dict):
        raise UserError(f"{file} holds {describe(values)}, expected an object; {EXPECTED_FOLDER}")
    return values


def check_settings(file: Path, values: Mapping[str, object], **checks: tuple[bool, str]) -> None:
    """Refuse settings of a file: by name, whether the value is valid, and what was expected.

    Raises:
        UserError: with every invalid one.
    """
    problems = [
        f"{file}: {name} is {describe(values.get(name))}, expected {expected}; {EXPECTED_FOLDER}"
        for name, (valid, expected) in checks.items()
        if not valid
    ]
    if problems:
        raise UserError(problems)


def is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def is_whole(value: Any, low: int, high: float) -> bool:
    """Whether a value is a whole number from `low` to `high`."""
    return is_number(value) and low <= value <= high and value == int(value)


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model directory, with the settings that a predictor reads; `id2label` is filled in.

    Raises:
        UserError: the file is missing or damaged.
    """
    file = folder / "config.json"
    config = {"id2label": UNNAMED_LABELS, **read_json(file)}
    labels, kind = config["id2label"], config.get("problem_type")
    multi_label = kind == "multi_label_classification"
    check_settings(
        file,
        config,
        id2label=(is_label_names(labels), "the names of the classes by '0', '1', ..."),
        problem_type=(kind in PROBLEM_TYPES, "one of those that transformers has"),
        decision_threshold=(not multi_label or is_number(config.get("decision_threshold")), "a number"),
        body=(isinstance(config.get("body", {}), dict), "an object"),
    )
    body = config.get("body", config)
    segments = is_whole(body.get("type_vocab_size", 0), 0, math.inf)
    check_settings(file, body, type_vocab_size=(segments, "a whole number"))
    return config


def is_label_names(value: object) -> bool:
    """Whether a value maps "0" to "n-1" to n names."""
    if not isinstance(value, dict) or not value:
        return False
    return value.keys() == set(map(str, range(len(value)))) and all(isinstance(v, str) for v in value.values())
