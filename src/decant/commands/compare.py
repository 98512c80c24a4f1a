"""`decant compare`: whether one experiment is better than another, with intervals and p-values.

With one run of each experiment, their predictions for the same test rows are compared; the spread over seeds is not
included. With several runs, the means over the seeds that both experiments have are compared.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from scipy import stats

from decant.config.schema import Evaluate
from decant.core.errors import UserError
from decant.core.stage import configure_libraries
from decant.evaluation import bootstrap, report, row_scores
from decant.evaluation.roles import TITLES
from decant.evaluation.row_scores import RowScores
from decant.experiment.experiment import Experiment
from decant.task import Scoring
from decant.tracking import store

PHRASES = {
    "better": "better than",
    "worse": "worse than",
    "cannot tell": "not distinguishable from",
}
"""By the verdict on B."""
COLUMNS = ("model", "A", "B", "B - A", "interval", "p", "B is")
RUN_ID = re.compile("[0-9a-f]{32}")
NO_SPREAD = 1e-9
"""Differences of all seeds within this are equal up to rounding."""
Pair = tuple[RowScores, RowScores]
"""The scores of A and of B on the same test rows."""


@dataclass(frozen=True)
class Comparison:
    """The primary metric of one model in two experiments."""

    a: float
    b: float
    difference: float
    """b - a."""
    low: float
    """Lower end of the confidence interval of the difference."""
    high: float
    p: float
    """Two-sided p-value: the probability of a difference at least this large by chance."""

    def verdict(self, confidence: float) -> str:
        """Whether B is "better" than A, "worse", or the data "cannot tell"."""
        if self.p >= 1 - confidence or self.low <= 0 <= self.high:
            return "cannot tell"
        return "better" if self.difference > 0 else "worse"


def run(a: str, b: str, confidence: float | None) -> None:
    """Compare two experiments and print the result.

    Args:
        a: git revision, DVC experiment, id of an MLflow run, `.`, or several of these with commas between.
        b: as `a`.
        confidence: in (0, 1); default: evaluate.confidence of params.yaml.

    Raises:
        UserError: experiments that do not exist, or cannot be compared.
    """
    configure_libraries()
    pairs = pair_runs(load(a), load(b))
    overrides = [f"use.task={pairs[0][0].metadata.task}"]
    if confidence is not None:
        overrides.append(f"evaluate.confidence={confidence}")
    experiment = Experiment.load(overrides)
    show(a, b, pairs, experiment.task.scoring, experiment.evaluate)


def load(names: str) -> list[RowScores]:
    """The row scores of the experiments that an argument names.

    Raises:
        UserError: one of them does not exist, or has no row scores.
    """
    return [
        rows for name in names.split(",") for rows in (load_run(name) if RUN_ID.fullmatch(name) else [load_rev(name)])
    ]


def load_rev(name: str) -> RowScores:
    """The row scores in this folder (`.`), or of a git revision; DVC experiments are git revisions.

    Raises:
        UserError: no such revision, its row scores are not in DVC's cache, or this folder is not up to date.
    """
    from dvc.api import DVCFileSystem  # slow to import
    from dvc.exceptions import DvcException
    from dvc.scm import RevError

    file = report.OUT / row_scores.FILE
    try:
        if name == ".":
            check_up_to_date()
            return row_scores.read(BytesIO(file.read_bytes()))
        with DVCFileSystem(rev=name).open(str(file), "rb") as content:
            return row_scores.read(BytesIO(content.read()))
    except RevError as error:
        raise UserError(
            f"there is no git revision, DVC experiment or MLflow run {name!r}; dvc exp list names experiments, and "
            "make ui shows the ids of runs"
        ) from error
    except (DvcException, OSError) as error:
        raise UserError(
            f"{file} of {name!r} is not here; get it from a remote (dvc pull, dvc exp pull), or make it again "
            "there: dvc repro"
        ) from error


def check_up_to_date() -> None:
    """Refuse a result of other values or code than those in this folder.

    Raises:
        UserError: dvc status reports changes.
    """
    if subprocess.run(["dvc", "status", "--quiet"], capture_output=True, check=False).returncode:
        raise UserError("the result in this folder is out of date (dvc status); make it first: dvc repro")


def load_run(run_id: str) -> list[RowScores]:
    """The row scores of an MLflow run, or of each seed in it.

    Raises:
        UserError: the run does not exist, or has no row scores.
    """
    store.connect()
    seed_runs = store.find("tags.`decant.invocation` != ''", {store.PARENT_TAG: run_id})
    run_ids = [run.info.run_id for run in seed_runs] or [run_id]
    try:
        files = [mlflow.artifacts.download_artifacts(run_id=i, artifact_path=row_scores.FILE) for i in run_ids]
    except (MlflowException, OSError) as error:
        raise UserError(
            f"MLflow's run {run_id} has no {row_scores.FILE} here ({error}); expected the run of an invocation that "
            "evaluated, or of several seeds"
        ) from error
    return [row_scores.read(BytesIO(Path(file).read_bytes())) for file in files]


def pair_runs(a: Sequence[RowScores], b: Sequence[RowScores]) -> list[Pair]:
    """Runs with equal seeds; a single run of each experiment is paired whatever its seed.

    Raises:
        UserError: fewer than two seeds in common, other tasks, other test rows.
    """
    for runs in (a, b):
        seeds = [rows.metadata.seed for rows in runs]
        if len(set(seeds)) < len(seeds):
            raise UserError(f"the seeds {sorted(seeds)} are not all different; name each experiment once")
    by_seed = {rows.metadata.seed: rows for rows in a}
    pairs = [(by_seed[rows.metadata.seed], rows) for rows in b if rows.metadata.seed in by_seed]
    if len(a) == len(b) == 1:
        pairs = [(a[0], b[0])]
    elif len(pairs) < 2:
        raise UserError(
            f"A has the seeds {sorted(by_seed)}, B {sorted(r.metadata.seed for r in b)}; expected two or more that "
            "both have (make experiment SEEDS=5), or one run as A and one as B"
        )
    check_test_rows(pairs)
    return pairs


def check_test_rows(pairs: Sequence[Pair]) -> None:
    """Refuse runs with different tasks or test rows.

    Raises:
        UserError: the first such pair.
    """
    for a, b in pairs:
        if (a.metadata.task, a.metadata.test) != (b.metadata.task, b.metadata.test):
            raise UserError(
                f"A was tested on other rows than B (seeds {a.metadata.seed} and {b.metadata.seed}, tasks "
                f"{a.metadata.task} and {b.metadata.task}); another seed draws another test split: compare equal seeds "
                "of equal data"
            )


def compare(pairs: Sequence[Pair], role: str, scoring: Scoring, settings: Evaluate) -> Comparison:
    """Compare one model: by the test rows of a single pair, or by the means over several seeds."""
    a, b = ([rows.statistics[role] for rows in runs] for runs in zip(*pairs, strict=True))
    if len(pairs) == 1:
        return compare_rows(a[0], b[0], scoring, settings, pairs[0][0].metadata.seed)
    scores_a, scores_b = (scoring.primary_metric_from(np.stack([sums.sum(0) for sums in runs])) for runs in (a, b))
    return compare_seeds(scores_a, scores_b, settings)


def compare_rows(a: np.ndarray, b: np.ndarray, scoring: Scoring, settings: Evaluate, seed: int) -> Comparison:
    """Compare the sufficient statistics (N, K) of test rows: bootstrap interval and permutation test, both paired."""
    samples_a, samples_b = (bootstrap.resample(statistics, scoring, settings, seed) for statistics in (a, b))
    low, high = bootstrap.confidence_interval(samples_b.resampled - samples_a.resampled, settings.confidence)
    p = bootstrap.permutation_p_value(a, b, scoring, settings.resamples, seed)
    return Comparison(samples_a.score, samples_b.score, samples_b.score - samples_a.score, low, high, p)


def compare_seeds(a: np.ndarray, b: np.ndarray, settings: Evaluate) -> Comparison:
    """Compare the primary metrics (S,) of equal seeds by a paired t-test."""
    difference = float((b - a).mean())
    if np.ptp(b - a) < NO_SPREAD:  # the t-test needs a spread
        return Comparison(a.mean(), b.mean(), difference, -np.inf, np.inf, 1.0)
    test = stats.ttest_rel(b, a)
    low, high = test.confidence_interval(settings.confidence)
    return Comparison(a.mean(), b.mean(), difference, float(low), float(high), float(test.pvalue))


def show(a: str, b: str, pairs: Sequence[Pair], scoring: Scoring, settings: Evaluate) -> None:
    """Print a table of the models that both experiments have, and the verdict on the student."""
    roles = [r for r in TITLES if all(r in rows.statistics for pair in pairs for rows in pair)]
    comparisons = {role: compare(pairs, role, scoring, settings) for role in roles}
    method = f"{len(pairs)} seeds, paired t-test" if len(pairs) > 1 else "one run each, the same test rows"
    lines = [table_row(TITLES[role], c, settings.confidence) for role, c in comparisons.items()]
    report.terminal().print(report.grid(f"{scoring.primary_metric} x 100; {method}", COLUMNS, lines))
    verdict = PHRASES[comparisons["student"].verdict(settings.confidence)]
    print(f"student: {b} is {verdict} {a} at {100 * settings.confidence:g} %")
    if len(pairs) == 1:
        print("The spread over seeds is not included: seeds of one experiment differ by more than the test rows alone")
        print(
            "explain (benchmarks/alarms.md). Before you rely on a small difference, compare runs of make experiment "
            "SEEDS=5."
        )


def table_row(title: str, comparison: Comparison, confidence: float) -> list[str]:
    """The cells of one model under `COLUMNS`, times 100."""
    return [
        title,
        f"{100 * comparison.a:.2f}",
        f"{100 * comparison.b:.2f}",
        f"{100 * comparison.difference:+.2f}",
        f"[{100 * comparison.low:+.2f}, {100 * comparison.high:+.2f}]",
        f"{comparison.p:.3g}",
        comparison.verdict(confidence),
    ]
