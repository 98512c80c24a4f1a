"""What every task promises, over conf/task/*.yaml."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from support.experiments import experiment_of
from support.paths import ROOT
from transformers import AutoModelForSequenceClassification, BertConfig

from decant.config.schema import Evaluate
from decant.dataset.modality.text import Text
from decant.dataset.prepared import Prepared
from decant.evaluation import bootstrap, linear_baseline, plots
from decant.loss import Output
from decant.loss.kd import KD
from decant.models.directory import Head
from decant.preparation.splits import split_off
from decant.task import Objective, Scoring, Target, Task
from decant.training import ensemble

NAMES = sorted(f.stem for f in (ROOT / "conf/task").glob("*.yaml"))
SETTINGS = Evaluate(resamples=200, confidence=0.9, bins=10)
ROWS = 60
TARGETS = {
    "classify": [["a", "b", "c"][i % 3] for i in range(ROWS)],
    "multilabel": [["a"], ["b", "a"], [], ["c"], ["b"]] * (ROWS // 5),
    "regress": [round(float(v), 2) for v in np.random.default_rng(0).uniform(0, 5, ROWS)],
}
"""As a table may hold them; a task without an entry here is not tested."""


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return experiment_of(f"use.task={request.param}").task


@pytest.fixture
def target(task: Task) -> Target:
    return task.target


@pytest.fixture
def objective(task: Task) -> Objective:
    return task.objective


@pytest.fixture
def scoring(task: Task) -> Scoring:
    return task.scoring


@pytest.fixture
def parsed(target: Target, request: pytest.FixtureRequest) -> pd.Series:
    return target.read(pd.Series(TARGETS[request.node.callspec.params["task"]], dtype=object))


@pytest.fixture
def labels(target: Target, parsed: pd.Series) -> list[str]:
    return target.labels(parsed)


@pytest.fixture
def encoded(target: Target, parsed: pd.Series, labels: list[str]) -> np.ndarray:
    return np.stack(target.encode(parsed, labels))


@pytest.fixture
def logits(labels: list[str]) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 2, (ROWS, len(labels))).astype(np.float32)


def test_encoded_targets_come_back_from_parquet(
    target: Target, parsed: pd.Series, labels: list[str], tmp_path: Path
) -> None:
    encoded = target.encode(parsed, labels)
    pd.DataFrame({"target": encoded}).to_parquet(tmp_path / "a.parquet")
    back = pd.read_parquet(tmp_path / "a.parquet")["target"]
    assert np.array_equal(np.stack(back.to_list()), np.stack(encoded))
    assert target.describe(parsed, back, labels)


def test_a_missing_target_is_null_and_adds_nothing_to_the_loss(
    target: Target, objective: Objective, parsed: pd.Series, labels: list[str], logits: np.ndarray
) -> None:
    half_labelled = parsed.copy().astype(object)
    half_labelled.iloc[ROWS // 2 :] = None
    assert target.read(pd.Series([None, np.nan, " "], dtype=object)).isna().all()
    encoded = torch.from_numpy(np.stack(target.encode(half_labelled, labels)))
    inputs = torch.from_numpy(logits).requires_grad_()
    loss = objective.loss(inputs, encoded)
    loss.backward()
    labelled_loss = objective.loss(inputs[: ROWS // 2], encoded[: ROWS // 2])
    assert loss.item() == pytest.approx(labelled_loss.item() / 2, rel=1e-5)
    assert torch.isfinite(inputs.grad).all()
    assert not inputs.grad[ROWS // 2 :].any()


def test_validation_metrics_are_those_of_the_report(
    task: Task, encoded: np.ndarray, labels: list[str], logits: np.ndarray
) -> None:
    validation = task.objective.validation_metrics(len(labels))
    for part in np.array_split(np.arange(ROWS), 7):
        validation.update(torch.from_numpy(logits[part]), torch.from_numpy(encoded[part]))
    metrics = task.scoring.metrics(logits, encoded, labels, 10)
    assert task.objective.monitor == task.scoring.primary_metric
    assert task.objective.monitor in validation
    for name, value in validation.compute().items():
        assert float(value) == pytest.approx(metrics[name], abs=1e-5), name


def test_the_primary_metric_comes_from_the_sums_of_the_sufficient_statistics(
    scoring: Scoring, objective: Objective, encoded: np.ndarray, labels: list[str], logits: np.ndarray
) -> None:
    metrics = scoring.metrics(logits, encoded, labels, 10)
    primary = metrics[scoring.primary_metric]
    statistics = scoring.sufficient_statistics(logits, encoded)
    assert len(statistics) == ROWS
    assert scoring.primary_metric_from(statistics.sum(0, keepdims=True))[0] == pytest.approx(primary, abs=1e-9)
    assert scoring.score(logits, encoded) == pytest.approx(primary, abs=1e-9)
    assert scoring.primary_metric in scoring.metric_titles
    assert all(metrics[name] <= 1 for name in scoring.metric_titles)
    assert 0 < objective.standard_error(primary, ROWS) < 0.5


def test_a_bootstrap_sample_is_scored_like_its_rows(
    scoring: Scoring, encoded: np.ndarray, labels: list[str], logits: np.ndarray
) -> None:
    sample = np.random.default_rng(2).integers(0, ROWS, ROWS)
    counts = np.bincount(sample, minlength=ROWS)[None].astype(float)
    expected = scoring.metrics(logits[sample], encoded[sample], labels, 10)[scoring.primary_metric]
    sums = counts @ scoring.sufficient_statistics(logits, encoded)
    assert scoring.primary_metric_from(sums)[0] == pytest.approx(expected, abs=1e-9)


def test_a_model_against_itself_retains_and_agrees_on_all(
    scoring: Scoring, encoded: np.ndarray, logits: np.ndarray
) -> None:
    logits = np.abs(logits)  # a positive correlation for regression
    samples = bootstrap.resample(scoring.sufficient_statistics(logits, encoded), scoring, SETTINGS, 0)
    compared = bootstrap.compare_pair(samples, samples, SETTINGS.confidence)
    assert scoring.agreement(logits, logits) == pytest.approx(1.0)
    assert compared["low"] == compared["high"] == compared["difference"] == 0.0
    assert "{}" in scoring.agreement_sentence


def test_a_student_equal_to_its_teacher_has_no_soft_loss_and_any_other_has(
    objective: Objective, logits: np.ndarray
) -> None:
    teacher = torch.from_numpy(logits)
    kd = KD(temperature=3.0, hard_weight=0.1, standardise=False)
    same, different, target = Output(teacher), Output(teacher + torch.randn_like(teacher)), torch.zeros(len(teacher))
    assert kd(same, same, target, objective)["soft"].item() == pytest.approx(0, abs=1e-6)
    assert kd(different, same, target, objective)["soft"].item() > 1e-3


def test_shapes_that_would_broadcast_are_refused(objective: Objective, logits: np.ndarray) -> None:
    teacher = torch.from_numpy(logits)
    kd = KD(temperature=3.0, hard_weight=0.1, standardise=False)
    with pytest.raises(ValueError, match=r"expected equal shapes \(B, C\)"):
        kd(Output(teacher), Output(teacher[:1]), torch.zeros(len(teacher)), objective)
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        objective.loss(teacher, torch.zeros(1))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_split_holds_every_row_once_and_can_be_learned(target: Target, parsed: pd.Series, seed: int) -> None:
    frame = pd.DataFrame({"row_id": [str(i) for i in range(ROWS)], "target": parsed})
    frame["key"] = frame["row_id"]
    rest, part = split_off(frame, 0.2, "validation", target, seed)
    assert sorted([*rest["row_id"], *part["row_id"]]) == sorted(frame["row_id"])
    assert len(part) == 12
    assert target.problems({"train": rest, "validation": part}) == []


def test_the_head_is_one_that_plain_transformers_serves(
    objective: Objective, labels: list[str], tmp_path: Path
) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    BertConfig(vocab_size=20, **sizes).save_pretrained(tmp_path)
    network = objective.build_network(tmp_path, labels, AutoModelForSequenceClassification, Head())
    network.save_pretrained(tmp_path)
    back = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert list(back.config.id2label.values()) == labels
    assert back(torch.ones(2, 3, dtype=torch.long)).logits.shape == (2, len(labels))


def test_the_linear_baseline_learns_what_is_linear(
    scoring: Scoring, encoded: np.ndarray, labels: list[str], logits: np.ndarray
) -> None:
    # the features hold the answer, so the baseline has to find it
    targets = encoded.reshape(ROWS, -1) if encoded.dtype != np.int64 else np.eye(len(labels))[encoded]
    inputs = np.hstack([targets, logits])
    pipeline = make_pipeline(FunctionTransformer(), scoring.linear_estimator(100.0)).fit(inputs, encoded)
    predicted = scoring.linear_logits(pipeline, inputs)
    assert predicted.shape == (ROWS, len(labels))
    assert predicted.dtype == np.float32
    assert scoring.score(predicted, encoded) > 0.99
    assert linear_baseline.size(pipeline)["parameters"] >= inputs.shape[1]


def test_pictures_are_equal_bytes_for_equal_predictions(
    scoring: Scoring, encoded: np.ndarray, labels: list[str], logits: np.ndarray, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        plots.draw(scoring.picture(logits, encoded, labels), tmp_path / name)
    files = sorted(f.name for f in (tmp_path / "a").iterdir())
    assert "answers.png" in files
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_an_ensemble_of_equal_models_scores_as_each_of_them(
    task: Task, encoded: np.ndarray, logits: np.ndarray
) -> None:
    ensemble = task.objective.ensemble(np.stack([logits] * 3))
    assert ensemble.dtype == np.float32
    score = task.scoring.score(ensemble, encoded)
    assert score == pytest.approx(task.scoring.score(logits, encoded), abs=1e-6)


def test_train_is_divided_into_folds_of_one_size(task: Task, encoded: np.ndarray, labels: list[str]) -> None:
    ids = [str(i) for i in range(ROWS)]
    train = pd.DataFrame({"row_id": ids, "input": ids, "target": list(encoded)})
    fold = ensemble.assign_folds(Prepared({"train": train}, labels, {}, Text()), task.target, 5, 0)
    assert np.bincount(fold).tolist() == [0, 12, 12, 12, 12, 12]
