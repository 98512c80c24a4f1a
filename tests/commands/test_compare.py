import io
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.stores import copy_store

from decant.commands import compare, seeds
from decant.config.schema import Evaluate
from decant.core.errors import UserError
from decant.evaluation import bootstrap, row_scores
from decant.evaluation.row_scores import Metadata, RowScores
from decant.models import predictions
from decant.task.classify import Classify

TASK = Classify()
KNOBS = Evaluate(resamples=20000, confidence=0.95, bins=10)
ROWS = 300


def logits(right: float, seed: int) -> np.ndarray:
    """Of a model that is right on about that share of rows, all of class 0."""
    answers = (np.random.default_rng(seed).random(ROWS) >= right).astype(int)
    return np.eye(3, dtype=np.float32)[answers] * 5


def read_split(folder: Path, values: np.ndarray) -> np.ndarray:
    """What predictions.parquet gives back."""
    folder.mkdir()
    ids = [str(i) for i in range(ROWS)]
    predictions.write(folder, {"test": (ids, values)}, {"test": "0"})
    return predictions.read(folder, "test", ids, "0")


def statistics(values: np.ndarray) -> np.ndarray:
    return TASK.scoring.sufficient_statistics(values, np.zeros(ROWS, int))


@pytest.fixture
def two(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Sums of two models, from their stored predictions."""
    each = [read_split(tmp_path / str(seed), logits(share, seed)) for seed, share in ((1, 0.70), (2, 0.79))]
    return tuple(statistics(values) for values in each)


def test_one_run_each_agrees_with_scipy(two: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = (sums[:, 0].astype(float) for sums in two)
    found = compare.compare_rows(*two, TASK.scoring, KNOBS, 0)
    assert (found.a, found.b) == (first.mean(), second.mean())
    assert found.difference == pytest.approx(second.mean() - first.mean())

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return b.mean(axis) - a.mean(axis)

    swapped = stats.permutation_test(
        (first, second), difference, permutation_type="samples", n_resamples=20000, vectorized=True, rng=1
    )
    only = int(((second == 1) & (first == 0)).sum()), int(((second == 0) & (first == 1)).sum())
    mcnemar = stats.binomtest(only[1], sum(only), 0.5).pvalue  # exact
    assert found.p == pytest.approx(swapped.pvalue, abs=0.01)
    assert found.p == pytest.approx(mcnemar, abs=0.01)
    wanted = stats.bootstrap((second - first,), np.mean, method="percentile", n_resamples=20000, rng=1)
    low, high = wanted.confidence_interval
    assert (found.low, found.high) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))


def test_several_seeds_agree_with_scipy_and_with_the_formula() -> None:
    first, second = np.array([0.70, 0.72, 0.69, 0.75, 0.71]), np.array([0.73, 0.72, 0.74, 0.76, 0.75])
    found = compare.compare_seeds(first, second, KNOBS)
    d = second - first
    t = d.mean() / (d.std(ddof=1) / np.sqrt(5))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert found.p == pytest.approx(stats.ttest_rel(second, first).pvalue)
    half = stats.t.ppf(0.975, 4) * d.std(ddof=1) / np.sqrt(5)
    assert (found.low, found.high) == (pytest.approx(d.mean() - half), pytest.approx(d.mean() + half))


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.01, 0.2, 0.01, "better"),
        (-0.2, -0.01, 0.01, "worse"),
        (-0.1, 0.1, 0.9, "cannot tell"),
        (0.001, 0.2, 0.06, "cannot tell"),  # the two disagree
        (-0.001, 0.2, 0.04, "cannot tell"),
    ],
)
def test_the_verdict_needs_both_interval_and_p_value(low: float, high: float, p: float, verdict: str) -> None:
    assert compare.Comparison(0.5, 0.6, (low + high) / 2, low, high, p).verdict(0.95) == verdict


def test_a_p_value_of_models_that_are_alike_is_below_a_level_about_as_often_as_it_says() -> None:
    knobs = Evaluate(resamples=400, confidence=0.95, bins=10)
    alarms = 0
    for seed in range(200):
        both = [statistics(logits(0.8, 1000 * side + seed)) for side in (1, 2)]
        alarms += bootstrap.permutation_p_value(both[0], both[1], TASK.scoring, knobs.resamples, seed) < 0.1
    assert 8 <= alarms <= 34  # 20 are expected; 3.3 standard errors to each side


def test_equal_models_are_not_told_apart(two: tuple[np.ndarray, np.ndarray]) -> None:
    assert compare.compare_rows(two[0], two[0], TASK.scoring, KNOBS, 0).p == 1.0
    assert compare.compare_seeds(np.ones(3), np.ones(3), KNOBS).verdict(0.95) == "cannot tell"


def test_equal_differences_of_two_seeds_are_no_proof() -> None:
    found = compare.compare_seeds(np.array([0.50, 0.60]), np.array([0.52, 0.62]), KNOBS)
    assert (found.p, found.verdict(0.95)) == (1.0, "cannot tell")


def test_a_seed_counts_once() -> None:
    with pytest.raises(UserError, match=r"the seeds \[0, 0\] are not all different"):
        compare.pair_runs([rows(0), rows(0)], [rows(0), rows(1)])


def rows(seed: int, test: str = "x", task: str = "classify") -> RowScores:
    return RowScores({"student": np.ones((4, 2))}, Metadata(seed, task, test))


def test_seeds_are_paired_by_number_in_any_order() -> None:
    both = compare.pair_runs([rows(2, "b"), rows(1, "a"), rows(5, "c")], [rows(1, "a"), rows(2, "b")])
    assert [(a.metadata.seed, b.metadata.seed) for a, b in both] == [(1, 1), (2, 2)]


def test_one_run_each_may_have_other_seeds_where_the_test_rows_are_the_same() -> None:
    assert len(compare.pair_runs([rows(0)], [rows(1)])) == 1


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([rows(0)], [rows(1, "y")], r"tested on other rows than B \(seeds 0 and 1, tasks classify and classify\)"),
        ([rows(0)], [rows(0, task="regress")], r"tasks classify and regress"),
        ([rows(0), rows(1)], [rows(1), rows(2)], r"A has the seeds \[0, 1\], B \[1, 2\]; expected two or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(first: list[RowScores], second: list[RowScores], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compare.pair_runs(first, second)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    metadata = Metadata(seed=7, task="classify", test="abc")
    statistics = {"teacher": np.arange(4.0).reshape(2, 2), "student": np.ones((2, 2))}
    row_scores.write(tmp_path / "rows.parquet", ["a", "b"], statistics, metadata)
    found = row_scores.read(io.BytesIO((tmp_path / "rows.parquet").read_bytes()))
    assert found.metadata == metadata
    assert {r: v.tolist() for r, v in found.statistics.items()} == {r: v.tolist() for r, v in statistics.items()}


def test_figures_over_seeds_are_those_by_hand() -> None:
    values = [0.70, 0.74, 0.72]
    found = seeds.mean_interval(values, 0.95)
    assert found["mean"] == pytest.approx(0.72)
    assert found["std"] == pytest.approx(0.02)
    low, high = stats.t.interval(0.95, 2, loc=0.72, scale=0.02 / np.sqrt(3))
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))


def test_a_figure_that_one_seed_lacks_is_left_out() -> None:
    each = [{"a": 1.0, "b": 2.0}, {"a": 3.0}]
    assert set(seeds.summarize(each, 0.95)) == {"a"}


def test_the_name_of_a_run_may_hold_a_quote(
    tmp_path: Path, empty_mlflow_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_store(empty_mlflow_store, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"it's no run has no rows\.parquet here"):
        compare.load_run("it's no run")
