"""Several labels per row, read, encoded and checked."""

import numpy as np
import pandas as pd

from decant.preparation.splits import split_off
from decant.task.multilabel import MultiLabel

MULTI = MultiLabel(threshold=0.5)
TARGET, OBJECTIVE, SCORING = MULTI.target, MULTI.objective, MULTI.scoring


def labelled(*rows: list[str] | None) -> pd.DataFrame:
    return pd.DataFrame({"target": TARGET.read(pd.Series(rows, dtype=object))})


def test_labels_are_read_from_lists_and_from_text() -> None:
    cells = ["b; a", ["b", "a", "a"], np.array(["x"]), ";", [], "", None, "one"]
    expected = [("a", "b"), ("a", "b"), ("x",), (), (), None, None, ("one",)]
    assert TARGET.read(pd.Series(cells, dtype=object)).tolist() == expected


def test_no_label_is_zeros_an_unknown_one_is_left_out_and_a_missing_target_is_minus_one() -> None:
    encoded = TARGET.encode(pd.Series([("c", "a"), (), ("zzz",), None], dtype=object), ["a", "b", "c"])
    assert [row.tolist() for row in encoded] == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [-1, -1, -1]]


def test_strata_too_small_for_folds_are_merged() -> None:
    rows = pd.Series(
        TARGET.encode(pd.Series([("a",)] * 30 + [("a", "b")] * 12 + [("c",)] * 4 + [()] * 20), list("abc"))
    )
    assert sorted(TARGET.strata(rows).value_counts()) == [12, 20, 34]


def test_rare_labels_are_refused_or_dropped_everywhere() -> None:
    train = labelled(["a"], ["a", "b"], ["b"], ["rare"], [])
    test = labelled(["a", "rare"], ["new"], ["b"])
    refusing, dropping = TARGET, MultiLabel(threshold=0.5, rare="drop", min_rows=2).target
    assert "fewer than 2 rows of 1 labels ('rare')" in refusing.check_class_counts(train)[0]
    assert "rare: drop" in refusing.check_class_counts(train)[0]
    assert "test has labels that train lacks: 'new'" in refusing.problems({"train": train, "test": test})[0]
    assert dropping.check_class_counts(train) == dropping.problems({"train": train, "test": test}) == []
    assert dropping.labels(train["target"]) == ["a", "b"]
    encoded = pd.Series(dropping.encode(test["target"], ["a", "b"]))
    described = dropping.describe(test["target"], encoded, ["a", "b"])
    assert described == {"classes": {"a": 1, "b": 1}, "without_labels": 1, "dropped_labels": {"new": 1, "rare": 1}}


def test_labels_that_cannot_be_learned_are_refused() -> None:
    everywhere = TARGET.problems({"train": labelled(["a", "b"], ["a"])})
    assert "every row of train has the label 'a'" in everywhere[0]
    assert "train has 0 labels, expected two or more" in TARGET.problems({"train": labelled([], [])})[0]
    assert "of a single one, use task classify" in TARGET.problems({"train": labelled(["a"], [])})[0]


def test_a_label_on_two_rows_stays_in_train() -> None:
    rows = labelled(*[["a"]] * 30, ["a", "few"], ["few"], ["once", "a"], [])
    frame = rows.assign(row_id=[str(i) for i in range(len(rows))], key=[str(i) for i in range(len(rows))])
    for seed in range(10):
        rest, _ = split_off(frame, 0.2, "validation", TARGET, seed)
        assert "few" in set(rest["target"].explode())
