import pytest
import yaml
from pydantic import ValidationError
from support.paths import ROOT

from decant.config.schema import SECTIONS, Export, FineTune, Prepare, Section, Trainer

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
TRAINER = yaml.safe_load((ROOT / "conf/trainer/cpu.yaml").read_text())


def section(name: str, **changes: object) -> Section:
    """A section of params.yaml, or conf/trainer/cpu.yaml, with other values."""
    return SECTIONS[name].model_validate((TRAINER if name == "trainer" else PARAMS[name]) | changes)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_of_a_section_is_in_its_file_and_explained_or_plain(name: str) -> None:
    given = TRAINER if name == "trainer" else PARAMS[name]
    assert list(SECTIONS[name].model_fields) == list(section(name).model_dump())
    assert SECTIONS[name].model_fields.keys() == given.keys()


@pytest.mark.parametrize(
    ("name", "key", "bad"),
    [
        ("prepare", "validation", [0, 0.6, "half"]),
        ("prepare", "labels_per_class", [1, 2.5, "many"]),
        ("prepare", "augmented_copies", [-1, None]),
        ("fine_tune", "epochs", [0, -1, 1.5, "three", None]),
        ("fine_tune", "lr", [0, -1, float("nan"), float("inf"), "fast"]),
        ("fine_tune", "warmup", [-0.1, 1]),
        ("fine_tune", "weight_decay", [-0.1, float("inf")]),
        ("fine_tune", "clip", [0, float("nan")]),
        ("fine_tune", "ema", [1.0]),
        ("fine_tune", "folds", [0]),
        ("fine_tune", "logits_dtype", ["bfloat16", 16]),
        ("fine_tune", "top_k_logits", [0, "all"]),
        ("distill", "init_from", ["scratch"]),
        ("distill", "vocabulary", ["some"]),
        ("distill", "dropout", [1.0, -0.1]),
        ("distill", "teachers", [["data/raw/x"], {"data/raw/x": 3}]),
        ("export", "prune", [1.0]),
        ("export", "max_metric_drop", [1.1, -0.1]),
        ("evaluate", "confidence", [0, 1]),
        ("evaluate", "resamples", [0]),
        ("trainer", "devices", ["many", 1.5]),
        ("trainer", "precision", [17, "half"]),
        ("trainer", "threads", [0, "many"]),
        ("trainer", "save_minutes", [-1]),
    ],
)
def test_values_out_of_range_are_refused(name: str, key: str, bad: list[object]) -> None:
    for value in bad:
        with pytest.raises(ValidationError) as caught:
            section(name, **{key: value})
        assert caught.value.errors()[0]["loc"][0] == key, value


def test_values_at_the_edge_are_taken() -> None:
    for values in ({"validation": 0.5, "test": 0.01}, {"labels_per_class": 2}, {"labels_per_class": None}):
        assert isinstance(section("prepare", **values), Prepare)
    for values in ({"prune": 0.0, "max_metric_drop": 1.0}, {"max_metric_drop": 0.0}):
        assert isinstance(section("export", **values), Export)
    for values in ({"devices": -1}, {"devices": [0, 2]}, {"precision": 32}, {"save_minutes": 0}):
        assert isinstance(section("trainer", **values), Trainer)
    assert isinstance(section("fine_tune", warmup=0.0, weight_decay=0.0, top_k_logits=1), FineTune)


def test_folds_and_seeds_do_not_go_together() -> None:
    with pytest.raises(ValidationError, match="folds is 2, expected 1 where seeds is more than 1"):
        section("fine_tune", folds=2, seeds=2)


def test_numbers_have_the_types_of_their_section() -> None:
    prepare = section("prepare", labels_per_class=3)
    assert isinstance(prepare.labels_per_class, int)  # type: ignore[attr-defined]
    assert isinstance(section("fine_tune", lr=1).lr, float)  # type: ignore[attr-defined]


def test_unknown_and_missing_keys_are_errors() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        section("evaluate", resample=3)
    with pytest.raises(ValidationError, match="missing"):
        SECTIONS["evaluate"].model_validate({"resamples": 3})


def test_a_section_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        section("evaluate").bins = 3  # type: ignore[attr-defined]
