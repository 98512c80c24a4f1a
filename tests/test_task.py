"""What every task promises, over conf/task/*.yaml, and each task against a reference."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from scipy.special import expit, softmax
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report, f1_score, precision_recall_fscore_support, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from transformers import AutoModelForSequenceClassification, BertConfig

from decant import prepare
from decant.config import compose
from decant.config.schema import Evaluate, Prepare
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.data import with_row_ids
from decant.data.table import Table
from decant.dataset.modality.text import Text
from decant.dataset.prepared import Prepared
from decant.evaluation import bootstrap, linear_baseline, plots
from decant.loss import Output
from decant.loss.kd import KD
from decant.models.directory import Head
from decant.preparation import cleaning
from decant.preparation.splits import cut, keep_labels
from decant.task import Task
from decant.task.classify import Classify
from decant.task.multilabel import MultiLabel
from decant.task.regress import Regress
from decant.task.regress.metrics import correlation, moments, pearson
from decant.training import ensemble

NAMES = sorted(f.stem for f in (ROOT / "conf/task").glob("*.yaml"))
KNOBS = Evaluate(resamples=200, confidence=0.9, bins=10)
DRAW = np.random.default_rng(0)
ROWS = 60
TARGETS = {
    "classify": [["a", "b", "c"][i % 3] for i in range(ROWS)],
    "multilabel": [["a"], ["b", "a"], [], ["c"], ["b"]] * (ROWS // 5),
    "regress": [round(float(v), 2) for v in DRAW.uniform(0, 5, ROWS)],
}
"""As a table may hold them; a task without an entry here is not tested."""


def built(name: str) -> Task:
    return compose.piece(compose.load([f"use.task={name}"], ROOT), "task")


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return built(request.param)


@pytest.fixture
def read(task: Task, request: pytest.FixtureRequest) -> pd.Series:
    return task.target.read(pd.Series(TARGETS[request.node.callspec.params["task"]], dtype=object))


@pytest.fixture
def labels(task: Task, read: pd.Series) -> list[str]:
    return task.target.labels(read)


@pytest.fixture
def target(task: Task, read: pd.Series, labels: list[str]) -> np.ndarray:
    return np.stack(task.target.encode(read, labels))


@pytest.fixture
def logits(labels: list[str]) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 2, (ROWS, len(labels))).astype(np.float32)


# --- every task


def test_encoded_targets_come_back_from_parquet(task: Task, read: pd.Series, labels: list[str], tmp_path: Path) -> None:
    encoded = task.target.encode(read, labels)
    pd.DataFrame({"target": encoded}).to_parquet(tmp_path / "a.parquet")
    back = pd.read_parquet(tmp_path / "a.parquet")["target"]
    assert np.array_equal(np.stack(back.to_list()), np.stack(encoded))
    assert task.target.describe(read, back, labels)


def test_a_missing_target_is_null_and_adds_nothing_to_the_loss(
    task: Task, read: pd.Series, labels: list[str], logits: np.ndarray
) -> None:
    half = read.copy().astype(object)
    half.iloc[ROWS // 2 :] = None
    assert task.target.read(pd.Series([None, np.nan, " "], dtype=object)).isna().all()
    target = torch.from_numpy(np.stack(task.target.encode(half, labels)))
    whole = torch.from_numpy(logits).requires_grad_()
    found = task.objective.loss(whole, target)
    found.backward()
    alone = task.objective.loss(whole[: ROWS // 2], target[: ROWS // 2])
    assert found.item() == pytest.approx(alone.item() / 2, rel=1e-5)
    assert torch.isfinite(whole.grad).all()
    assert not whole.grad[ROWS // 2 :].any()


def test_the_epoch_metrics_are_those_of_the_report(
    task: Task, target: np.ndarray, labels: list[str], logits: np.ndarray
) -> None:
    measured = task.objective.validation_metrics(len(labels))
    for part in np.array_split(np.arange(ROWS), 7):
        measured.update(torch.from_numpy(logits[part]), torch.from_numpy(target[part]))
    scores = task.scoring.metrics(logits, target, labels, 10)
    assert task.objective.monitor == task.scoring.primary_metric
    assert task.objective.monitor in measured
    for name, value in measured.compute().items():
        assert float(value) == pytest.approx(scores[name], abs=1e-5), name


def test_the_headline_of_the_sums_is_the_monitored_score(
    task: Task, target: np.ndarray, labels: list[str], logits: np.ndarray
) -> None:
    scores = task.scoring.metrics(logits, target, labels, 10)
    sums = task.scoring.sufficient_statistics(logits, target)
    assert len(sums) == ROWS
    assert task.scoring.primary_metric_from(sums.sum(0, keepdims=True))[0] == pytest.approx(
        scores[task.scoring.primary_metric], abs=1e-9
    )
    assert task.scoring.primary_metric in task.scoring.metric_titles
    assert all(scores[column] <= 1 for column in task.scoring.metric_titles)
    assert 0 < task.objective.standard_error(scores[task.scoring.primary_metric], ROWS) < 0.5


def test_a_resample_is_scored_like_the_rows_it_drew(
    task: Task, target: np.ndarray, labels: list[str], logits: np.ndarray
) -> None:
    drawn = np.random.default_rng(2).integers(0, ROWS, ROWS)
    counts = np.bincount(drawn, minlength=ROWS)[None].astype(float)
    wanted = task.scoring.metrics(logits[drawn], target[drawn], labels, 10)[task.scoring.primary_metric]
    assert task.scoring.primary_metric_from(counts @ task.scoring.sufficient_statistics(logits, target))[
        0
    ] == pytest.approx(wanted, abs=1e-9)


def test_a_model_against_itself_retains_and_agrees_on_all(task: Task, target: np.ndarray, logits: np.ndarray) -> None:
    right = np.abs(logits)  # of regression a positive figure
    drawn = bootstrap.drawn(right, target, task.scoring, KNOBS, 0)
    found = bootstrap.between(drawn, drawn, KNOBS)
    assert task.scoring.agreement(right, right) == pytest.approx(1.0)
    assert found["low"] == found["high"] == found["difference"] == 0.0
    assert "{}" in task.scoring.agreement_sentence


def test_a_student_that_agrees_has_no_soft_loss_and_any_other_has(task: Task, logits: np.ndarray) -> None:
    teacher = torch.from_numpy(logits)
    kd = KD(temperature=3.0, hard_weight=0.1, standardise=False)
    same, other, target = Output(teacher), Output(teacher + torch.randn_like(teacher)), torch.zeros(len(teacher))
    assert kd(same, same, target, task.objective)["soft"].item() == pytest.approx(0, abs=1e-6)
    assert kd(other, same, target, task.objective)["soft"].item() > 1e-3


def test_shapes_that_would_broadcast_are_refused(task: Task, logits: np.ndarray) -> None:
    teacher = torch.from_numpy(logits)
    kd = KD(temperature=3.0, hard_weight=0.1, standardise=False)
    with pytest.raises(ValueError, match=r"expected equal shapes \(B, C\)"):
        kd(Output(teacher), Output(teacher[:1]), torch.zeros(len(teacher)), task.objective)
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        task.objective.loss(teacher, torch.zeros(1))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cut_keeps_every_row_once_and_what_the_task_can_learn(task: Task, read: pd.Series, seed: int) -> None:
    frame = pd.DataFrame({"row_id": [str(i) for i in range(ROWS)], "target": read})
    frame["key"] = frame["row_id"]
    rest, part = cut(frame, 0.2, "validation", task.target, seed)
    assert sorted([*rest["row_id"], *part["row_id"]]) == sorted(frame["row_id"])
    assert len(part) == 12
    assert task.target.problems({"train": rest, "validation": part}) == []


def test_the_head_is_one_that_plain_transformers_serves(task: Task, labels: list[str], tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    BertConfig(vocab_size=20, **sizes).save_pretrained(tmp_path)
    network = task.objective.build_network(tmp_path, labels, AutoModelForSequenceClassification, Head())
    network.save_pretrained(tmp_path)
    back = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert list(back.config.id2label.values()) == labels
    assert back(torch.ones(2, 3, dtype=torch.long)).logits.shape == (2, len(labels))


def test_a_new_head_gives_each_label_at_the_share_of_its_rows(tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    BertConfig(vocab_size=20, **sizes).save_pretrained(tmp_path)
    network = MULTI.objective.build_network(tmp_path, ["a", "b"], AutoModelForSequenceClassification, Head())
    with torch.no_grad():
        network.classifier.weight.zero_()
    target = np.array([[1, 0]] * 3 + [[0, 0]] * 5 + [[-1, -1]] * 9, np.int8)  # the last have no labels
    MULTI.objective.init_head_bias(network, target, None)
    found = network.eval()(torch.ones(1, 3, dtype=torch.long)).logits.sigmoid()[0].tolist()
    assert found == pytest.approx([4 / 10, 1 / 10])  # one row more of each kind: no label is at 0
    MULTI.objective.init_head_bias(network, target, np.array([[-8.0, 2.0], [-6.0, 2.0]], np.float32))
    assert network.classifier.bias.tolist() == [-7.0, 2.0]  # a student starts at its teacher's mean


def test_the_linear_floor_learns_what_is_linear(
    task: Task, target: np.ndarray, labels: list[str], logits: np.ndarray
) -> None:
    # the features hold the answer, so the floor has to find it
    hot = target.reshape(ROWS, -1) if target.dtype != np.int64 else np.eye(len(labels))[target]
    inputs = np.hstack([hot, logits])
    pipeline = make_pipeline(FunctionTransformer(), task.scoring.linear_estimator(100.0)).fit(inputs, target)
    found = task.scoring.linear_logits(pipeline, inputs)
    assert found.shape == (ROWS, len(labels))
    assert found.dtype == np.float32
    assert task.scoring.metrics(found, target, labels, 10)[task.scoring.primary_metric] > 0.99
    assert linear_baseline.size(pipeline)["parameters"] >= inputs.shape[1]


def test_pictures_are_equal_bytes_for_equal_answers(
    task: Task, target: np.ndarray, labels: list[str], logits: np.ndarray, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        plots.draw(task.scoring.picture(logits, target, labels), tmp_path / name)
    made = sorted(f.name for f in (tmp_path / "a").iterdir())
    assert made
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in made)


def test_models_that_agree_say_the_same_together(
    task: Task, target: np.ndarray, labels: list[str], logits: np.ndarray
) -> None:
    together = task.objective.ensemble(np.stack([logits] * 3))
    assert together.dtype == np.float32
    assert task.scoring.metrics(together, target, labels, 10)[task.scoring.primary_metric] == pytest.approx(
        task.scoring.metrics(logits, target, labels, 10)[task.scoring.primary_metric], abs=1e-6
    )


def test_train_is_cut_into_folds_of_one_size(task: Task, target: np.ndarray, labels: list[str]) -> None:
    ids = [str(i) for i in range(ROWS)]
    train = pd.DataFrame({"row_id": ids, "input": ids, "target": list(target)})
    fold = ensemble.parts(Prepared({"train": train}, labels, {}, Text()), task, 5, 0)
    assert np.bincount(fold).tolist() == [0, 12, 12, 12, 12, 12]


# --- multilabel

MULTI = MultiLabel(threshold=0.5)
HOT = (DRAW.random((80, 4)) < 0.3).astype(np.int8)
SCORES = DRAW.normal(0, 2, (80, 4)).astype(np.float32)


def labelled(*rows: list[str] | None) -> pd.DataFrame:
    return pd.DataFrame({"target": MULTI.target.read(pd.Series(rows, dtype=object))})


def test_labels_are_read_from_lists_and_from_text() -> None:
    cells = ["b; a", ["b", "a", "a"], np.array(["x"]), ";", [], "", None, "one"]
    wanted = [("a", "b"), ("a", "b"), ("x",), (), (), None, None, ("one",)]
    assert MULTI.target.read(pd.Series(cells, dtype=object)).tolist() == wanted


def test_no_label_is_zeros_an_unknown_one_is_left_out_and_no_answer_is_minus_one() -> None:
    encoded = MULTI.target.encode(pd.Series([("c", "a"), (), ("zzz",), None], dtype=object), ["a", "b", "c"])
    assert [row.tolist() for row in encoded] == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [-1, -1, -1]]


def test_figures_of_labels_agree_with_scikit_learn() -> None:
    found = MULTI.scoring.metrics(SCORES, HOT, list("abcd"), 10)
    predicted = SCORES > 0
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
    hot, scores = HOT.copy(), SCORES.copy()
    hot[:, 0], scores[:, 0] = 0, -1
    assert MULTI.scoring.metrics(scores, hot, list("abcd"), 10)["macro_f1"] == pytest.approx(
        f1_score(hot, scores > 0, average="macro", zero_division=0)
    )


def test_calibration_error_of_labels_by_hand() -> None:
    probabilities, bins = expit(SCORES.astype(np.float64)).ravel(), 10
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    by_hand = sum(
        abs(probabilities[places == b].sum() - HOT.ravel()[places == b].sum()) for b in range(bins)
    ) / len(places)  # fmt: skip
    assert MULTI.scoring.metrics(SCORES, HOT, list("abcd"), bins)["calibration_error"] == pytest.approx(
        by_hand, abs=1e-6
    )


def test_the_threshold_moves_every_figure_alike() -> None:
    strict = MultiLabel(threshold=0.8)
    wanted = f1_score(HOT, expit(SCORES) > 0.8, average="micro")
    measured = strict.objective.validation_metrics(4)
    measured.update(torch.from_numpy(SCORES), torch.from_numpy(HOT))
    assert strict.scoring.metrics(SCORES, HOT, list("abcd"), 10)["micro_f1"] == pytest.approx(wanted)
    assert measured.compute()["micro_f1"].item() == pytest.approx(wanted)


def test_logits_between_zero_and_one_are_not_taken_for_probabilities() -> None:
    small = torch.full((3, 4), 0.2)  # probability 0.55
    measured = MULTI.objective.validation_metrics(4)
    measured.update(small, torch.ones(3, 4, dtype=torch.int8))
    assert measured.compute()["micro_f1"].item() == 1.0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_labels_agrees_with_float64_by_hand(smoothing: float) -> None:
    p = expit(SCORES.astype(np.float64))
    y = HOT * (1 - smoothing) + smoothing / 2
    by_hand = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    found = MULTI.objective.loss(torch.from_numpy(SCORES), torch.from_numpy(HOT), smoothing)
    assert found.item() == pytest.approx(by_hand, rel=1e-5)


def test_soft_labels_agree_with_float64_by_hand() -> None:
    t, other = 3.0, SCORES[::-1].copy()
    p, q = expit(SCORES.astype(np.float64) / t), expit(other.astype(np.float64) / t)
    by_hand = t**2 * (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).mean()
    found = MULTI.objective.divergence(torch.from_numpy(SCORES), torch.from_numpy(other), t)
    assert found.item() == pytest.approx(by_hand, rel=1e-4)


def test_an_ensemble_of_labels_is_the_mean_probability() -> None:
    three = np.stack([SCORES, SCORES[::-1], 30 * SCORES])
    wanted = expit(three.astype(np.float64)).mean(0)
    assert expit(MULTI.objective.ensemble(three)) == pytest.approx(wanted, abs=1e-6)
    assert np.isfinite(MULTI.objective.ensemble(np.full((2, 1, 1), 500.0, np.float32))).all()


def test_groups_too_small_for_folds_are_put_together() -> None:
    rows = pd.Series(
        MULTI.target.encode(pd.Series([("a",)] * 30 + [("a", "b")] * 12 + [("c",)] * 4 + [()] * 20), list("abc"))
    )
    assert sorted(MULTI.target.strata(rows).value_counts()) == [12, 20, 34]


def test_soft_labels_of_a_very_sure_teacher_stay_finite() -> None:
    student = torch.full((2, 3), -200.0, requires_grad=True)
    MULTI.objective.divergence(student, torch.full((2, 3), 200.0), 1.0).backward()
    assert torch.isfinite(student.grad).all()


def test_rare_labels_are_refused_or_dropped_everywhere() -> None:
    train = labelled(["a"], ["a", "b"], ["b"], ["rare"], [])
    test = labelled(["a", "rare"], ["new"], ["b"])
    refusing, dropping = MULTI, MultiLabel(threshold=0.5, rare="drop", min_rows=2)
    assert "fewer than 2 rows of 1 labels ('rare')" in refusing.target.check_class_counts(train)[0]
    assert "rare: drop" in refusing.target.check_class_counts(train)[0]
    assert "test has labels that train lacks: 'new'" in refusing.target.problems({"train": train, "test": test})[0]
    assert dropping.target.check_class_counts(train) == dropping.target.problems({"train": train, "test": test}) == []
    assert dropping.target.labels(train["target"]) == ["a", "b"]
    encoded = pd.Series(dropping.target.encode(test["target"], ["a", "b"]))
    described = dropping.target.describe(test["target"], encoded, ["a", "b"])
    assert described == {"classes": {"a": 1, "b": 1}, "without_labels": 1, "dropped_labels": {"new": 1, "rare": 1}}


def test_labels_that_cannot_be_learned_are_refused() -> None:
    everywhere = MULTI.target.problems({"train": labelled(["a", "b"], ["a"])})
    assert "every row of train has the label 'a'" in everywhere[0]
    assert "train has 0 labels, expected two or more" in MULTI.target.problems({"train": labelled([], [])})[0]
    assert "of a single one, use task classify" in MULTI.target.problems({"train": labelled(["a"], [])})[0]


def test_a_label_on_two_rows_is_cut_in_two() -> None:
    rows = labelled(*[["a"]] * 30, ["a", "few"], ["few"], ["once", "a"], [])
    frame = rows.assign(row_id=[str(i) for i in range(len(rows))], key=[str(i) for i in range(len(rows))])
    for seed in range(10):
        rest, _ = cut(frame, 0.2, "validation", MULTI.target, seed)
        assert "few" in set(rest["target"].explode())


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.0}, {"threshold": 0.5, "rare": "x"}, {"threshold": 0.5, "min_rows": 0}]
)
def test_wrong_options_of_labels_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match="expected"):
        MultiLabel(**wrong)


def test_one_label_alone_is_scored_and_fitted() -> None:
    hot, scores = HOT[:, :1], SCORES[:, :1]
    assert MULTI.scoring.metrics(scores, hot, ["a"], 10)["micro_f1"] == pytest.approx(
        f1_score(hot[:, 0], scores[:, 0] > 0)
    )
    fitted = MULTI.scoring.linear_estimator(1.0).fit(SCORES, hot)
    assert MULTI.scoring.linear_logits(fitted, SCORES).shape == (80, 1)


@pytest.mark.parametrize("classes", [2, 3])
def test_logits_of_a_floor_that_is_sure_are_finite(classes: int) -> None:
    task, inputs = Classify(), 1e4 * np.eye(classes)
    fitted = task.scoring.linear_estimator(1.0).fit(inputs, np.arange(classes))
    found = task.scoring.linear_logits(fitted, inputs)
    assert np.isfinite(found).all()  # scikit-learn's logarithm of a probability of 0 is not
    near = task.scoring.linear_logits(fitted, inputs / 1e4)
    assert softmax(near, axis=1) == pytest.approx(fitted.predict_proba(inputs / 1e4), abs=1e-6)


def test_the_floor_of_labels_is_a_logistic_regression_each() -> None:
    found = MULTI.scoring.linear_logits(MULTI.scoring.linear_estimator(1.0).fit(SCORES, HOT), SCORES)
    # without the shortcuts
    alone = LogisticRegression(C=1.0, class_weight="balanced", solver="liblinear").fit(SCORES, HOT[:, 2])
    assert found[:, 2] == pytest.approx(alone.decision_function(SCORES), abs=0.02)


# --- regress

NUMBERS = Regress(low=0.0, high=5.0)
TRUTH = DRAW.uniform(0, 5, 80).astype(np.float32)
ANSWERS = (TRUTH + DRAW.normal(0, 1, 80)).astype(np.float32)[:, None]


def test_figures_of_numbers_agree_with_scipy_and_scikit_learn() -> None:
    found = NUMBERS.scoring.metrics(ANSWERS, TRUTH, ["score"], 10)
    assert found["pearson"] == pytest.approx(pearsonr(ANSWERS[:, 0], TRUTH).statistic, abs=1e-6)
    assert found["spearman"] == pytest.approx(spearmanr(ANSWERS[:, 0], TRUTH).statistic)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(TRUTH, ANSWERS[:, 0]), rel=1e-5)


def test_a_correlation_survives_a_large_offset() -> None:
    shifted = pearson(ANSWERS[:, 0].astype(np.float64) + 1e9, TRUTH)
    assert shifted == pytest.approx(pearson(ANSWERS[:, 0], TRUTH), abs=1e-5)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9])
def test_answers_that_do_not_vary_correlate_with_nothing(constant: float) -> None:
    flat = np.full((80, 1), constant, np.float32)
    measured = NUMBERS.objective.validation_metrics(1)
    measured.update(torch.from_numpy(flat), torch.from_numpy(TRUTH))
    assert (
        measured.compute()["pearson"].item() == NUMBERS.scoring.metrics(flat, TRUTH, ["score"], 10)["spearman"] == 0.0
    )
    drawn = np.bincount([3] * 80, minlength=80)[None].astype(float)  # one row, again and again
    assert correlation(drawn @ moments(ANSWERS[:, 0], TRUTH)).tolist() == [0.0]


def test_the_loss_of_numbers_is_the_squared_error_in_units_of_the_range() -> None:
    by_hand = (((ANSWERS[:, 0].astype(np.float64) - TRUTH) / 5) ** 2).mean()
    found = NUMBERS.objective.loss(torch.from_numpy(ANSWERS), torch.from_numpy(TRUTH))
    assert found.item() == pytest.approx(by_hand, rel=1e-5)
    assert Regress().objective.loss(torch.from_numpy(ANSWERS), torch.from_numpy(TRUTH)).item() == pytest.approx(
        25 * by_hand
    )


def test_a_soft_number_is_a_target_like_any_other() -> None:
    teacher = torch.from_numpy(TRUTH)[:, None]
    found = [NUMBERS.objective.divergence(torch.from_numpy(ANSWERS), teacher, t).item() for t in (1.0, 4.0)]
    by_hand = (((ANSWERS[:, 0].astype(np.float64) - TRUTH) / 5) ** 2).mean()
    assert found == pytest.approx([by_hand, by_hand], rel=1e-5)


def test_numbers_are_not_smoothed() -> None:
    with pytest.raises(ValueError, match="a number cannot be smoothed"):
        NUMBERS.objective.loss(torch.from_numpy(ANSWERS), torch.from_numpy(TRUTH), 0.1)


@pytest.mark.parametrize(
    ("cells", "message"),
    [(["1", "two"], "1 targets are no numbers .first: 'two'"), ([1.0, float("inf")], "no numbers"),
     ([1.0, 1e300], "or exceed 32 bits"),
     ([0.0, 5.5], r"1 targets are outside \[0, 5\] .first: 5.5")],
)  # fmt: skip
def test_targets_that_are_no_numbers_of_the_range_are_refused(cells: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        NUMBERS.target.read(pd.Series(cells, dtype=object))


def test_numbers_come_through_a_table_as_they_were(tmp_path: Path) -> None:
    pd.DataFrame({"text": list("abcd"), "y": [1.1, 2.0, 4.0, 3.3]}).to_csv(tmp_path / "a.csv", index=False)
    target = Table(train=str(tmp_path / "a.csv"), input="text", target="y").load()["train"]["target"]
    assert NUMBERS.target.read(target).tolist() == [1.1, 2.0, 4.0, 3.3]


def test_the_same_target_everywhere_is_refused() -> None:
    assert "single target 3" in NUMBERS.target.problems({"train": pd.DataFrame({"target": [3.0, 3.0]})})[0]


@pytest.mark.parametrize(("low", "high"), [(0.0, None), (5.0, 0.0), (0.0, float("inf"))])
def test_a_range_that_is_none_is_refused(low: float, high: float | None) -> None:
    with pytest.raises(UserError, match="expected"):
        Regress(low=low, high=high)


def test_labels_per_class_need_classes() -> None:
    made = {"train": pd.DataFrame({"row_id": ["1"], "target": [1.0], "key": ["a"]})}
    with pytest.raises(UserError, match="needs a task with classes"):
        keep_labels(made, 2, NUMBERS.target, 0)


def test_the_standard_error_of_a_correlation_is_about_its_spread() -> None:
    found = []
    for seed in range(300):
        x, e = np.random.default_rng(seed).normal(size=(2, 200))
        found.append(pearson(x, 0.8 * x + 0.6 * e))
    assert NUMBERS.objective.standard_error(0.8, 200) == pytest.approx(np.std(found), rel=0.15)


# --- through prepare


def test_targets_that_cannot_be_read_are_told_by_split_with_all_other_problems() -> None:
    frame = pd.DataFrame({"input": ["a", ""], "target": ["1", "x"]})
    with pytest.raises(UserError) as caught:
        cleaning.clean(
            {"train": with_row_ids(frame, "train")}, Table(train="x", input="t", target="y"), Text(), NUMBERS.target
        )
    assert "train: 1 targets are no numbers" in caught.value.problems[0]
    assert any("empty input" in p for p in caught.value.problems)


def test_lists_of_labels_go_through_prepare(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "topics": t} for i, t in enumerate(TARGETS["multilabel"])]
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    source = Table(train=str(tmp_path / "a.parquet"), input="text", target="topics")
    made = prepare.load(source, MULTI.target)
    prepare.splits.make(
        made.tables, Prepare(validation=0.2, test=0.2, labels_per_class=None, copies=0), MULTI.target, 0
    )
    encoded = prepare.write(made, MULTI, tmp_path)
    card = read_json(tmp_path / "card.json")
    assert card["labels"] == ["a", "b", "c"]
    assert card["splits"]["train"]["classes"]["a"] == int(np.stack(encoded["train"]["target"].to_list())[:, 0].sum())
    assert card["splits"]["test"]["rows"] == 12
