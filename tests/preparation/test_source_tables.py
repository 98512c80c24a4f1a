"""The tables of the source task, for pretraining."""

from pathlib import Path

import pandas as pd
import pytest
from support.pretraining import TEXTS, prepared_experiment

from decant.core.errors import UserError
from decant.core.files import read_json


@pytest.fixture(autouse=True)
def project_dir(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project is the working directory."""
    monkeypatch.chdir(project)
    return project


def source_with(*texts: str) -> list[str]:
    """Overrides for source data that hold the corpus and `texts`."""
    rows = [*TEXTS, *texts]
    labels = [("a", "b")[i % 2] for i in range(len(rows))]
    pd.DataFrame({"text": rows, "intent": labels}).to_csv("source.csv", index=False)
    other_splits = ["source.test=null", "source.classes=null", "source.unlabelled=null"]
    return ["use.data=toy", "use.source=toy", "source.train=source.csv", *other_splits]


def target_test_inputs() -> list[str]:
    frame = pd.read_csv("data/raw/support/test.csv")
    return list(frame[frame["intent"] == "invoice"]["text"])


@pytest.mark.parametrize("pretrain", ["masked", "supervised"])
def test_a_test_input_of_the_target_is_refused_in_the_source(pretrain: str) -> None:
    overrides = source_with(target_test_inputs()[0].upper())
    with pytest.raises(UserError, match="1 inputs of the source data are also in the test split of the target data"):
        prepared_experiment(*overrides, f"use.pretrain={pretrain}")
    assert not Path("data/prepare").exists()


@pytest.mark.parametrize("pretrain", ["masked", "supervised"])
def test_a_test_input_of_the_target_is_dropped_from_the_source_if_allowed(pretrain: str) -> None:
    overrides = source_with(*target_test_inputs()[:3])
    prepared_experiment(*overrides, f"use.pretrain={pretrain}", "+source.leaks=drop")
    source, test = Path("data/prepare/source"), pd.read_parquet("data/prepare/test.parquet")
    rows = pd.concat(pd.read_parquet(file) for file in sorted(source.glob("*.parquet")))
    assert sorted(rows["input"]) == sorted(TEXTS)
    assert not set(rows["input"]) & set(test["input"])
    assert read_json(source / "card.json")["dropped"]["leaks"] == 3
    assert (pretrain == "masked") == set(rows["target"]).issubset({-1})


def test_without_labels_all_rows_but_those_of_test_are_pooled() -> None:
    prepared_experiment("use.data=toy", "use.source=toy", "use.pretrain=masked")
    target, source = Path("data/prepare"), Path("data/prepare/source")
    assert sorted(f.name for f in source.iterdir()) == ["card.json", "train.parquet", "validation.parquet"]
    train, validation = (set(pd.read_parquet(source / f"{s}.parquet")["input"]) for s in ("train", "validation"))
    assert not train & validation
    pooled = (pd.read_parquet(target / f"{s}.parquet")["input"] for s in ("train", "validation", "unlabelled"))
    assert train | validation == set(pd.concat(pooled))


def test_a_source_that_holds_only_test_rows_is_refused() -> None:
    empty = ["source.train=null", "source.unlabelled=null", "use.pretrain=masked"]
    with pytest.raises(UserError, match="no rows to learn from"):
        prepared_experiment("use.data=toy", "use.source=toy", *empty)
