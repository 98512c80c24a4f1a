"""The tables and the card that prepare writes."""

from pathlib import Path

import numpy as np
import pandas as pd
from support.tables import keyed

from decant.config.schema import Prepare
from decant.core.files import read_json
from decant.data import with_row_ids
from decant.data.table import Table
from decant.preparation import splits
from decant.preparation.prepared_files import encode, write_prepared
from decant.preparation.source_tables import load_tables
from decant.task.classify import Classify
from decant.task.multilabel import MultiLabel

CLASSES = Classify().target
TOPICS = [["a"], ["b", "a"], [], ["c"], ["b"]] * 12


def settings(labels_per_class: int | None = None, validation: float = 0.2) -> Prepare:
    return Prepare(validation=validation, test=0.2, labels_per_class=labels_per_class, augmented_copies=0)


def test_unlabelled_rows_may_have_an_empty_label(rows: pd.DataFrame) -> None:
    frame = with_row_ids(rows.rename(columns={"text": "input"}).assign(target=None), "unlabelled")
    assert encode(frame, CLASSES, ["bills"])["target"].tolist() == [-1] * len(rows)


def test_rows_that_lost_their_label_are_encoded_without_one(rows: pd.DataFrame) -> None:
    tables = keyed(rows, test=rows.head(0))
    splits.make(tables, settings(labels_per_class=2, validation=0.5), CLASSES, 0)
    assert encode(tables["unlabelled"], CLASSES, ["bills"])["target"].tolist() == [-1] * 6


def test_lists_of_labels_are_encoded_and_counted_in_the_card(tmp_path: Path) -> None:
    target = MultiLabel(threshold=0.5).target
    rows = [{"text": f"text {i}", "topics": topics} for i, topics in enumerate(TOPICS)]
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    tables = load_tables(Table(train=str(tmp_path / "a.parquet"), input="text", target="topics"), target)
    splits.make(tables.tables, settings(), target, 0)
    encoded = write_prepared(tables, target, tmp_path)
    card = read_json(tmp_path / "card.json")
    assert card["labels"] == ["a", "b", "c"]
    assert card["splits"]["train"]["classes"]["a"] == int(np.stack(encoded["train"]["target"].to_list())[:, 0].sum())
    assert card["splits"]["test"]["rows"] == 12
