"""Several labels per row, against scikit-learn and float64 by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report, f1_score, precision_recall_fscore_support
from transformers import AutoModelForSequenceClassification, BertConfig

from decant.core.errors import UserError
from decant.models.directory import Head
from decant.preparation.splits import split_off
from decant.task.multilabel import MultiLabel

MULTI = MultiLabel(threshold=0.5)
TARGET, OBJECTIVE, SCORING = MULTI.target, MULTI.objective, MULTI.scoring
DRAW = np.random.default_rng(0)
HOT = (DRAW.random((80, 4)) < 0.3).astype(np.int8)
LOGITS = DRAW.normal(0, 2, (80, 4)).astype(np.float32)


def labelled(*rows: list[str] | None) -> pd.DataFrame:
    return pd.DataFrame({"target": TARGET.read(pd.Series(rows, dtype=object))})


def test_labels_are_read_from_lists_and_from_text() -> None:
    cells = ["b; a", ["b", "a", "a"], np.array(["x"]), ";", [], "", None, "one"]
    wanted = [("a", "b"), ("a", "b"), ("x",), (), (), None, None, ("one",)]
    assert TARGET.read(pd.Series(cells, dtype=object)).tolist() == wanted


def test_no_label_is_zeros_an_unknown_one_is_left_out_and_no_answer_is_minus_one() -> None:
    encoded = TARGET.encode(pd.Series([("c", "a"), (), ("zzz",), None], dtype=object), ["a", "b", "c"])
    assert [row.tolist() for row in encoded] == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [-1, -1, -1]]


def test_metrics_of_labels_agree_with_scikit_learn() -> None:
    found = SCORING.metrics(LOGITS, HOT, list("abcd"), 10)
    predicted = LOGITS > 0
    report = classification_report(HOT, predicted, target_names=list("abcd"), output_dict=True, zero_division=0)
    for average in ("micro", "macro"):
        wanted = report[f"{average} avg"]
        assert found[f"{average}_f1"] == pytest.approx(wanted["f1-score"])
        assert found[f"{average}_precision"] == pytest.approx(wanted["precision"])
        assert found[f"{average}_recall"] == pytest.approx(wanted["recall"])
    each = precision_recall_fscore_support(HOT, predicted, zero_division=0)
    assert [found["per_class"][n]["f1"] for n in "abcd"] == pytest.approx(each[2].tolist())
    assert found["subset_accuracy"] == pytest.approx((predicted == HOT).all(1).mean())


def test_a_label_that_is_neither_there_nor_given_counts_as_zero() -> None:
    hot, scores = HOT.copy(), LOGITS.copy()
    hot[:, 0], scores[:, 0] = 0, -1
    assert SCORING.metrics(scores, hot, list("abcd"), 10)["macro_f1"] == pytest.approx(
        f1_score(hot, scores > 0, average="macro", zero_division=0)
    )


def test_calibration_error_of_labels_by_hand() -> None:
    probabilities, bins = expit(LOGITS.astype(np.float64)).ravel(), 10
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    by_hand = sum(
        abs(probabilities[places == b].sum() - HOT.ravel()[places == b].sum()) for b in range(bins)
    ) / len(places)  # fmt: skip
    assert SCORING.metrics(LOGITS, HOT, list("abcd"), bins)["calibration_error"] == pytest.approx(by_hand, abs=1e-6)


def test_the_threshold_moves_every_metric_alike() -> None:
    strict = MultiLabel(threshold=0.8)
    wanted = f1_score(HOT, expit(LOGITS) > 0.8, average="micro")
    measured = strict.objective.validation_metrics(4)
    measured.update(torch.from_numpy(LOGITS), torch.from_numpy(HOT))
    assert strict.scoring.metrics(LOGITS, HOT, list("abcd"), 10)["micro_f1"] == pytest.approx(wanted)
    assert measured.compute()["micro_f1"].item() == pytest.approx(wanted)


def test_logits_between_zero_and_one_are_not_taken_for_probabilities() -> None:
    small = torch.full((3, 4), 0.2)  # probability 0.55
    measured = OBJECTIVE.validation_metrics(4)
    measured.update(small, torch.ones(3, 4, dtype=torch.int8))
    assert measured.compute()["micro_f1"].item() == 1.0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_labels_agrees_with_float64_by_hand(smoothing: float) -> None:
    p = expit(LOGITS.astype(np.float64))
    y = HOT * (1 - smoothing) + smoothing / 2
    by_hand = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    found = OBJECTIVE.loss(torch.from_numpy(LOGITS), torch.from_numpy(HOT), smoothing)
    assert found.item() == pytest.approx(by_hand, rel=1e-5)


def test_soft_labels_agree_with_float64_by_hand() -> None:
    t, other = 3.0, LOGITS[::-1].copy()
    p, q = expit(LOGITS.astype(np.float64) / t), expit(other.astype(np.float64) / t)
    by_hand = t**2 * (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).mean()
    found = OBJECTIVE.divergence(torch.from_numpy(LOGITS), torch.from_numpy(other), t)
    assert found.item() == pytest.approx(by_hand, rel=1e-4)


def test_an_ensemble_of_labels_is_the_mean_probability() -> None:
    three = np.stack([LOGITS, LOGITS[::-1], 30 * LOGITS])
    wanted = expit(three.astype(np.float64)).mean(0)
    assert expit(OBJECTIVE.ensemble(three)) == pytest.approx(wanted, abs=1e-6)
    assert np.isfinite(OBJECTIVE.ensemble(np.full((2, 1, 1), 500.0, np.float32))).all()


def test_groups_too_small_for_folds_are_put_together() -> None:
    rows = pd.Series(
        TARGET.encode(pd.Series([("a",)] * 30 + [("a", "b")] * 12 + [("c",)] * 4 + [()] * 20), list("abc"))
    )
    assert sorted(TARGET.strata(rows).value_counts()) == [12, 20, 34]


def test_soft_labels_of_a_very_sure_teacher_stay_finite() -> None:
    student = torch.full((2, 3), -200.0, requires_grad=True)
    OBJECTIVE.divergence(student, torch.full((2, 3), 200.0), 1.0).backward()
    assert torch.isfinite(student.grad).all()


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


def test_a_label_on_two_rows_is_split_in_two() -> None:
    rows = labelled(*[["a"]] * 30, ["a", "few"], ["few"], ["once", "a"], [])
    frame = rows.assign(row_id=[str(i) for i in range(len(rows))], key=[str(i) for i in range(len(rows))])
    for seed in range(10):
        rest, _ = split_off(frame, 0.2, "validation", TARGET, seed)
        assert "few" in set(rest["target"].explode())


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.0}, {"threshold": 0.5, "rare": "x"}, {"threshold": 0.5, "min_rows": 0}]
)
def test_wrong_options_of_labels_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match="expected"):
        MultiLabel(**wrong)


def test_one_label_alone_is_scored_and_fitted() -> None:
    hot, scores = HOT[:, :1], LOGITS[:, :1]
    assert SCORING.metrics(scores, hot, ["a"], 10)["micro_f1"] == pytest.approx(f1_score(hot[:, 0], scores[:, 0] > 0))
    fitted = SCORING.linear_estimator(1.0).fit(LOGITS, hot)
    assert SCORING.linear_logits(fitted, LOGITS).shape == (80, 1)


def test_the_baseline_of_labels_is_a_logistic_regression_each() -> None:
    found = SCORING.linear_logits(SCORING.linear_estimator(1.0).fit(LOGITS, HOT), LOGITS)
    # without the shortcuts
    alone = LogisticRegression(C=1.0, class_weight="balanced", solver="liblinear").fit(LOGITS, HOT[:, 2])
    assert found[:, 2] == pytest.approx(alone.decision_function(LOGITS), abs=0.02)


def test_a_new_head_gives_each_label_at_the_share_of_its_rows(tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    BertConfig(vocab_size=20, **sizes).save_pretrained(tmp_path)
    network = OBJECTIVE.build_network(tmp_path, ["a", "b"], AutoModelForSequenceClassification, Head())
    with torch.no_grad():
        network.classifier.weight.zero_()
    target = np.array([[1, 0]] * 3 + [[0, 0]] * 5 + [[-1, -1]] * 9, np.int8)  # the last have no labels
    OBJECTIVE.init_head_bias(network, target, None)
    found = network.eval()(torch.ones(1, 3, dtype=torch.long)).logits.sigmoid()[0].tolist()
    assert found == pytest.approx([4 / 10, 1 / 10])  # one row more of each kind: no label is at 0
    OBJECTIVE.init_head_bias(network, target, np.array([[-8.0, 2.0], [-6.0, 2.0]], np.float32))
    assert network.classifier.bias.tolist() == [-7.0, 2.0]  # a student starts at its teacher's mean
