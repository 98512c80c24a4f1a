"""Any file gives valid splits or a sentence; DECANT_FUZZ=<examples> tries other ones each time, more of them."""

import os
import resource
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import hypothesis
import pandas as pd
import pytest
from hypothesis import strategies as st
from support.archive_strategies import BYTES, archives
from support.mutation_strategies import DOCUMENTS, IMAGES, JSON, TABLES, mutated
from support.table_strategies import ENDINGS, Case, cases

from decant import prepare
from decant.config.compose import parse_yaml
from decant.config.schema import Prepare
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.data.archive import read_archive
from decant.data.table import Table
from decant.dataset.modality.text import Text
from decant.dataset.prepared import Prepared, read_prepared
from decant.preparation.decode import BadImage, decode
from decant.preparation.prepared_files import write_prepared
from decant.task.classify import Classify
from decant.task.multilabel import MultiLabel

SETTINGS = Prepare(validation=0.2, test=0.2, labels_per_class=None, augmented_copies=0)
LABELLED = ("train", "validation", "test")
pytestmark = pytest.mark.slow
EXAMPLES = int(os.environ.get("DECANT_FUZZ", 0))
ENDED: Counter[str] = Counter()


def tried(share: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """300 examples times `share`, always the same; or as many others as asked for."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        chosen = hypothesis.settings(
            max_examples=int((EXAMPLES or 300) * share),
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        if EXAMPLES:
            number = int(os.environ.get("DECANT_FUZZ_SEED", secrets.randbits(32)))
            print(f"DECANT_FUZZ_SEED={number} for {test.__name__}")
            test = hypothesis.seed(number)(test)
        return chosen(test)

    return decorate


@pytest.fixture(scope="module", autouse=True)
def _told() -> Iterator[None]:
    yield
    print("\n", dict(sorted(ENDED.items())))


@contextmanager
def bounded() -> Iterator[None]:
    """Whatever the input: less than 30 seconds, and less than 4 GB more than before."""
    start, peak = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - start < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 4 << 20  # KiB


def refused(error: UserError, what: str) -> None:
    """An error says something."""
    ENDED[f"{what} refused"] += 1
    assert error.problems
    assert all(problem.strip() for problem in error.problems)


def written(case: Case, folder: Path, what: str) -> dict[str, bytes] | None:
    """What `prepare` writes, by name; none: it refuses the case."""
    (folder / "raw").mkdir()
    for name, content in case.files.items():
        (folder / "raw" / name).write_bytes(content)
    places = {name.partition(".")[0]: str(folder / "raw" / name) for name in case.files}
    found = []
    for out in (folder / "first", folder / "second"):
        out.mkdir()
        try:
            source = Table(**{**case.source, **places})
            experiment: Any = SimpleNamespace(data=source, task=case.task, prepare=case.settings, seed=case.seed)
            tables, _ = prepare.target_tables(experiment)
            write_prepared(tables, case.task.target, out)
            assert all(tables.modality.display(frame).map(type).eq(str).all() for frame in tables.tables.values())
        except UserError as error:
            refused(error, what)
            return None
        found.append({file.name: file.read_bytes() for file in out.iterdir()})
    ENDED[f"{what} with splits"] += 1
    assert found[0] == found[1]
    return found[0]


def check(prepared: Prepared, card: dict, case: Case) -> None:
    """The promises of `prepare` about what it writes."""
    assert set(LABELLED) <= set(prepared.frames) == set(card["splits"])
    keys = {split: set(Text().duplicate_keys(frame)) - {""} for split, frame in prepared.frames.items()}
    assert sum(map(len, keys.values())) == len(set().union(*keys.values())), "an input stands in two splits"
    for split, frame in prepared.frames.items():
        facts = card["splits"][split]
        assert len(frame) == facts["rows"] > 0
        assert frame["row_id"].is_unique
        assert facts["duplicates"] == Text().duplicate_keys(frame).duplicated().sum()
        check_targets(split, frame["target"], facts, case, prepared.labels)


def check_targets(split: str, target: "pd.Series", facts: dict, case: Case, labels: list[str]) -> None:
    """Targets are of the labels, all of which train has, and are counted in card.json."""
    known = split in LABELLED
    if isinstance(case.task, Classify):
        found = target.value_counts().to_dict()
        assert facts["classes"] == {label: found.get(i, 0) for i, label in enumerate(labels)}
        assert (target >= 0).all() if known else (target == -1).all()
        assert split != "train" or (len(labels) > 1 and min(facts["classes"].values()) > 0)
    elif isinstance(case.task, MultiLabel):
        rows = target.tolist()
        assert facts["classes"] == {label: sum(int(row[i]) == 1 for row in rows) for i, label in enumerate(labels)}
        assert {int(cell) for row in rows for cell in row} <= ({0, 1} if known else {-1})
        assert split != "train" or min(facts["classes"].values()) > 0
    else:
        assert target.map(lambda number: abs(number) < float("inf")).all() if known else target.isna().all()


@tried(1)
@hypothesis.given(cases())
def test_any_table_gives_valid_splits_or_a_sentence(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if written(case, Path(folder), "tables"):
            out = Path(folder) / "first"
            check(read_prepared(out), read_json(out / "card.json"), case)


@tried(0.3)
@hypothesis.given(BYTES, st.sampled_from([*ENDINGS, "json", "xls", ""]))
def test_any_bytes_as_a_table_give_splits_or_a_sentence(content: bytes, ending: str) -> None:
    case = Case({f"train.{ending}": content}, {"input": "a", "target": "b"}, Classify(), SETTINGS, 0)
    with tempfile.TemporaryDirectory() as folder:
        written(case, Path(folder), "bytes")


@tried(1)
@hypothesis.given(archives())
def test_any_archive_gives_names_inside_or_a_sentence(content: bytes) -> None:
    try:
        found = read_archive("a.zip", content)
    except UserError as error:
        refused(error, "archives")
        return
    ENDED["archives read"] += 1
    for name, data in found.items():
        assert isinstance(data, bytes)
        assert not PureWindowsPath(name).anchor  # knows both kinds of separators, and drives
        assert ".." not in PureWindowsPath(name).parts


@tried(0.4)
@hypothesis.given(st.sampled_from(TABLES).flatmap(lambda table: st.tuples(st.just(table[0]), mutated(table[1]))))
def test_any_damaged_table_gives_splits_or_a_sentence(table: tuple[str, bytes]) -> None:
    ending, content = table
    case = Case({f"train.{ending}": content}, {"input": "text", "target": "intent"}, Classify(), SETTINGS, 0)
    with tempfile.TemporaryDirectory() as folder, bounded():
        written(case, Path(folder), f"damaged {ending}")


@tried(0.4)
@hypothesis.given(st.sampled_from(IMAGES).flatmap(mutated))
def test_any_damaged_image_gives_pixels_or_a_reason(content: bytes) -> None:
    with bounded(), suppress(BadImage):
        assert decode(content, 8).shape == (8, 8, 3)


@tried(0.4)
@hypothesis.given(st.sampled_from(DOCUMENTS).flatmap(mutated))
def test_any_damaged_yaml_gives_values_or_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, bounded():
        (Path(folder) / "a.yaml").write_bytes(content)
        try:
            assert isinstance(parse_yaml(Path(folder) / "a.yaml"), dict)
        except UserError as error:
            refused(error, "yaml")


@tried(0.4)
@hypothesis.given(mutated(JSON))
def test_any_damaged_json_gives_values_or_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, bounded():
        (Path(folder) / "a.json").write_bytes(content)
        try:
            read_json(Path(folder) / "a.json")
        except UserError as error:
            refused(error, "json")
