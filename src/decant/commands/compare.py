"""Whether one experiment is better than another: differences, intervals and p-values, in words.

decant compare A B [--confidence 0.95]

A and B are each a git revision or a DVC experiment, an MLflow run (its id) of an invocation or of several seeds, or `.`
for what lies here; or several of these, with commas between. One of each: their answers on the same rows of test are
compared, and the spread over seeds is not in what is said. Several: their means over the seeds that both have.
"""

import argparse
import re
import subprocess
from dataclasses import dataclass, replace
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
from decant.task import Scoring, Task
from decant.tracking import store

WORDS = {"better": "better than", "worse": "worse than", "cannot tell": "not to be told from"}
COLUMNS = ("model", "A", "B", "B - A", "interval", "p", "B is")


@dataclass(frozen=True)
class Found:
    """One model in two experiments."""

    before: float
    after: float
    difference: float
    low: float
    high: float
    p: float
    """Two-sided: how often so large a difference comes from chance alone."""

    def verdict(self, confidence: float) -> str:
        """Whether the second is better than the first, worse, or one cannot tell."""
        if self.p >= 1 - confidence or self.low <= 0 <= self.high:
            return "cannot tell"
        return "better" if self.difference > 0 else "worse"


def main(words: list[str]) -> None:
    """The command `decant compare`.

    Raises:
        UserError: experiments that cannot be found, or not be compared.
    """
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("decant compare", description=__doc__, formatter_class=plain)
    parser.add_argument("a", metavar="A", help="what is compared with")
    parser.add_argument("b", metavar="B", help="what may be better")
    parser.add_argument("--confidence", type=float, help="in (0, 1); default: evaluate.confidence of params.yaml")
    configure_libraries()
    own = parser.parse_args(words)
    first, second = (load(name) for name in (own.a, own.b))
    knobs: Evaluate = Experiment.load().evaluate
    if own.confidence is not None:
        knobs = replace(knobs, confidence=own.confidence)
    show(own.a, own.b, pairs(first, second), knobs)


def load(name: str) -> list[RowScores]:
    """The experiments that a word of the command line names."""
    return [rows for one in name.split(",") for rows in (_run(one) if re.fullmatch("[0-9a-f]{32}", one) else _at(one))]


def _at(name: str) -> list[RowScores]:
    """Of what lies here, or of a revision of git; DVC experiments are such."""
    from dvc.api import DVCFileSystem  # takes a second to import
    from dvc.exceptions import DvcException
    from dvc.scm import RevError

    place = report.OUT / row_scores.FILE
    try:
        if name == ".":
            if subprocess.run(["dvc", "status", "--quiet"], capture_output=True, check=False).returncode:
                raise UserError(
                    "what lies here is not what params.yaml says now (dvc status); make it first: dvc repro"
                )
            return [row_scores.read(BytesIO(place.read_bytes()))]
        with DVCFileSystem(rev=name).open(str(place), "rb") as file:
            return [row_scores.read(BytesIO(file.read()))]
    except RevError as error:
        raise UserError(
            f"there is no git revision, DVC experiment or MLflow run {name!r}; dvc exp list names experiments, and "
            "make ui shows the ids of runs"
        ) from error
    except (DvcException, OSError) as error:
        raise UserError(
            f"{place} of {name!r} is not here; get it where a remote has it (dvc pull, dvc exp pull), or make it again "
            "there: dvc repro"
        ) from error


def _run(run_id: str) -> list[RowScores]:
    """Of a run in MLflow; of several seeds, each."""
    store.connect()
    seeds = store.find(f"tags.`mlflow.parentRunId` = '{run_id}' and tags.`decant.invocation` != ''")
    try:
        files = [mlflow.artifacts.download_artifacts(run_id=r, artifact_path=row_scores.FILE)
                 for r in [run.info.run_id for run in seeds] or [run_id]]  # fmt: skip
    except (MlflowException, OSError) as error:
        raise UserError(
            f"MLflow's run {run_id} has no {row_scores.FILE} here ({error}); expected the run of an invocation that "
            "evaluated, or of several seeds"
        ) from error
    return [row_scores.read(BytesIO(Path(file).read_bytes())) for file in files]


def pairs(first: list[RowScores], second: list[RowScores]) -> list[tuple[RowScores, RowScores]]:
    """Of equal seeds; where there is one of each, these two.

    Raises:
        UserError: seeds that none or one have in common, other tasks, other test rows.
    """
    for side in (first, second):
        numbers = [rows.metadata.seed for rows in side]
        if len(set(numbers)) < len(numbers):
            raise UserError(f"the seeds {sorted(numbers)} are not all different; name each experiment once")
    known = {rows.metadata.seed: rows for rows in first}
    both = [(known[rows.metadata.seed], rows) for rows in second if rows.metadata.seed in known]
    if len(first) == len(second) == 1:
        both = [(first[0], second[0])]
    elif len(both) < 2:
        raise UserError(
            f"A has the seeds {sorted(known)}, B {sorted(r.metadata.seed for r in second)}; expected two or more that "
            "both have (make experiment SEEDS=5), or one run as A and one as B"
        )
    for a, b in both:
        if (a.metadata.task, a.metadata.test) != (b.metadata.task, b.metadata.test):
            raise UserError(
                f"A was tested on other rows than B (seeds {a.metadata.seed} and {b.metadata.seed}, tasks "
                f"{a.metadata.task} and {b.metadata.task}); another seed cuts another test split: compare equal seeds "
                "of equal data"
            )
    return both


def compare(both: list[tuple[RowScores, RowScores]], role: str, scoring: Scoring, knobs: Evaluate) -> Found:
    """One model: by the rows of one pair, or by the means of several."""
    first, second = ([rows.statistics[role] for rows in side] for side in zip(*both, strict=True))
    if len(both) == 1:
        return by_rows(first[0], second[0], scoring, knobs, both[0][0].metadata.seed)
    before, after = (scoring.primary_metric_from(np.stack([s.sum(0) for s in side])) for side in (first, second))
    return by_seeds(before, after, knobs)


def by_rows(first: np.ndarray, second: np.ndarray, scoring: Scoring, knobs: Evaluate, seed: int) -> Found:
    """From sufficient statistics (N, K): bootstrap interval and permutation test, both paired."""
    before, after = (bootstrap.resample(s, scoring, knobs, seed) for s in (first, second))
    low, high = bootstrap.confidence_interval(after.resampled - before.resampled, knobs.confidence)
    p = bootstrap.permutation_p_value(first, second, scoring, knobs.resamples, seed)
    return Found(before.score, after.score, after.score - before.score, low, high, p)


def by_seeds(first: np.ndarray, second: np.ndarray, knobs: Evaluate) -> Found:
    """From primary metrics (S,): Student's t-test of the differences of equal seeds."""
    difference = float((second - first).mean())
    if np.ptp(second - first) < 1e-9:  # each seed says the same: there is no spread to test by
        return Found(first.mean(), second.mean(), difference, -np.inf, np.inf, 1.0)
    found = stats.ttest_rel(second, first)
    low, high = found.confidence_interval(knobs.confidence)
    return Found(first.mean(), second.mean(), difference, float(low), float(high), float(found.pvalue))


def show(a: str, b: str, both: list[tuple[RowScores, RowScores]], knobs: Evaluate) -> None:
    """Print the models that both have, and what the student's figures say in words."""
    task: Task = Experiment.load([f"use.task={both[0][0].metadata.task}"]).task
    roles = [r for r in TITLES if all(r in rows.statistics for pair in both for rows in pair)]
    found = {role: compare(both, role, task.scoring, knobs) for role in roles}
    how = f"{len(both)} seeds, t-test of their differences" if len(both) > 1 else "one run each, the same test rows"
    lines = [
        [TITLES[role], f"{100 * f.before:.2f}", f"{100 * f.after:.2f}", f"{100 * f.difference:+.2f}",
         f"[{100 * f.low:+.2f}, {100 * f.high:+.2f}]", f"{f.p:.3g}", f.verdict(knobs.confidence)]
        for role, f in found.items()
    ]  # fmt: skip
    report.terminal().print(report.grid(f"{task.scoring.primary_metric} x 100; {how}", COLUMNS, lines))
    print(f"student: {b} is {WORDS[found['student'].verdict(knobs.confidence)]} {a} at {100 * knobs.confidence:g} %")
    if len(both) == 1:
        print(
            "The spread over seeds is not in this: seeds of one experiment differ by more than chance over rows alone"
        )
        print(
            "(benchmarks/alarms.md). Before you believe a small difference, compare what make experiment SEEDS=5 gives."
        )
