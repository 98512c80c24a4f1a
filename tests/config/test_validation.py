from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from decant.config.schema import Section
from decant.config.validation import expected, key_problems, validated


class Example(Section):
    share: Annotated[float, Field(ge=0, lt=1)]
    count: Annotated[int, Field(gt=0)] | None
    name: Literal["all", "used"]
    switch: bool
    folders: dict[str, str]
    devices: int | list[int]


GOOD: dict[str, Any] = {"share": 0.5, "count": 2, "name": "all", "switch": True, "folders": {}, "devices": 1}


def test_good_values_become_a_section() -> None:
    section, problems = validated(Example, GOOD, "example", "params.yaml")
    assert problems == []
    assert section == Example(**GOOD)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("share", "a number in [0, 1)"),
        ("count", "a whole number above 0, or null"),
        ("name", "one of: all, used"),
        ("switch", "true or false"),
        ("folders", "a mapping of texts to texts"),
        ("devices", "a whole number or a list of whole numbers"),
    ],
)
def test_the_values_that_a_key_takes_are_described_in_words(key: str, words: str) -> None:
    assert expected(Example.model_fields[key]) == words


def test_every_bad_value_is_a_problem_once() -> None:
    bad = {"share": 1, "count": 0, "name": "some", "switch": "maybe", "folders": [], "devices": "many"}
    section, problems = validated(Example, bad, "example", "params.yaml")
    assert section is None
    assert [problem.partition(", expected ")[0] for problem in problems] == [
        "example.share is 1",
        "example.count is 0",
        "example.name is 'some'",
        "example.switch is 'maybe'",
        "example.folders is []",
        "example.devices is 'many'",
    ]


def test_unknown_and_missing_keys_come_before_values() -> None:
    given = {**GOOD, "shaer": 0.5, "count": -1}
    del given["name"]
    _, problems = validated(Example, given, "example", "params.yaml")
    assert [problem.partition(";")[0] for problem in problems] == [
        "example in params.yaml has the key 'shaer', which nothing reads (did you mean 'share'?)",
        "example in params.yaml lacks the key 'name'",
    ]


@pytest.mark.parametrize("content", [3, "words", ["share"]])
def test_a_section_that_is_no_mapping_is_named_with_its_keys(content: object) -> None:
    _, problems = validated(Example, content, "example", "params.yaml")
    assert problems == [
        f"example in params.yaml is {content!r}, expected the keys: share, count, name, switch, folders, devices"
    ]


def test_an_empty_section_lacks_all_keys() -> None:
    assert len(validated(Example, None, "example", "params.yaml")[1]) == len(GOOD)


def test_keys_are_compared_as_texts() -> None:
    assert key_problems("x.yaml", [1], ["1"], ["1"]) == []
