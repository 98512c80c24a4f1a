"""The metrics of evaluate, from given logits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from support.tiny_project import LABELS, write_prepared
from support.training_jobs import tiny_experiment

from decant import evaluate
from decant.dataset.prepared import read_prepared
from decant.evaluation.roles import TITLES, Metrics, comparison


@pytest.fixture
def logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Random logits (N, C) of every role on the test rows of a tiny project, and the project."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    write_prepared("text", len(LABELS))
    draw = np.random.default_rng(0)
    return {role: draw.normal(size=(6, len(LABELS))) for role in TITLES}


def target() -> np.ndarray:
    return np.stack(read_prepared().frames["test"]["target"].to_list())


def score(logits: dict[str, np.ndarray], *overrides: str) -> Metrics:
    experiment: Any = tiny_experiment("evaluate.resamples=50", *overrides)
    scoring = experiment.task.scoring
    statistics = {role: scoring.sufficient_statistics(v, target()) for role, v in logits.items()}
    return evaluate.score(experiment, read_prepared(), logits, target(), statistics)


def test_every_role_has_the_metrics_of_scikit_learn(logits: dict[str, np.ndarray]) -> None:
    metrics = score(logits)
    for role, values in logits.items():
        predicted = values.argmax(1)
        assert metrics[role]["accuracy"] == pytest.approx(accuracy_score(target(), predicted))
        expected = f1_score(target(), predicted, average="macro", labels=range(len(LABELS)), zero_division=0)
        assert metrics[role]["macro_f1"] == pytest.approx(expected)


def test_equal_seeds_give_equal_bytes_and_another_seed_other_intervals(logits: dict[str, np.ndarray]) -> None:
    first, again, other = (json.dumps(score(logits, f"seed={seed}")) for seed in (1, 1, 2))
    assert first == again != other


def test_a_role_that_predicts_as_another_does_not_differ_from_it(logits: dict[str, np.ndarray]) -> None:
    logits["student"] = logits["teacher"]
    pair = score(logits)["compare"][comparison("student", "teacher")]
    assert pair["difference"] == 0
    assert pair["agreement"] == 1
