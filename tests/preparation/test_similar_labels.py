"""Labels that are one to a reader and several to a model."""

from pathlib import Path

import pandas as pd
from support.tables import keyed, table_source

from decant.core.files import read_json
from decant.dataset.modality.text import Text
from decant.preparation.prepared_files import write_prepared
from decant.preparation.similar_labels import similar_labels, warning
from decant.preparation.source_tables import SourceTables
from decant.task.classify import Classify


def test_labels_that_differ_in_case_white_space_or_unicode_form_are_similar() -> None:
    labels = ["billing", "Billing", " billing", "bil ling", "caf\u00e9", "cafe\u0301", "cafe", "other", "ﬁne", "fine"]
    assert similar_labels(labels) == [[" billing", "Billing", "billing"], ["cafe\u0301", "caf\u00e9"], ["fine", "ﬁne"]]


def test_the_warning_tells_similar_labels_apart_and_counts_their_rows() -> None:
    sentence = warning(["cafe\u0301", "caf\u00e9"], {"caf\u00e9": 3})
    assert r"'cafe\u0301' (0 rows of train), 'caf\xe9' (3 rows of train)" in sentence
    assert sentence.endswith("spell them alike in the data")


def test_the_card_names_similar_labels_only_where_there_are_some(tmp_path: Path) -> None:
    cards = []
    for label in ("A", "c"):
        frame = pd.DataFrame({"text": list("wxyz"), "intent": ["a", "b", label, label]})
        write_prepared(SourceTables(table_source(), Text(), keyed(frame), {}), Classify().target, tmp_path)
        cards.append(read_json(tmp_path / "card.json"))
    assert cards[0]["similar_labels"] == [["A", "a"]]
    assert "similar_labels" not in cards[1]
