"""`decant experiment --seeds 5`: one experiment under several seeds, and its metrics over them.

Each seed is a DVC experiment and an MLflow run, nested in a run that holds for each metric m: m/mean, m/std (of the
sample), and the interval of the mean, m/low and m/high (Student's t).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import Run as MlflowRun
from scipy import stats

from decant.core.errors import UserError
from decant.core.files import read_json
from decant.evaluation import members, report, roles
from decant.experiment.experiment import Experiment
from decant.tracking import outbox, store
from decant.tracking.runs import SEEDS_RUN, Run, open_run, title

Metrics = Mapping[str, float]
MIN_SEEDS_FOR_INTERVAL = 3
"""The interval of the mean of two seeds is too wide to say anything."""
REMEDY = "run the same command again: DVC restores the finished seeds from its cache"


def run_seeds(count: int, experiment: Experiment, run_once: Callable[[int], int]) -> None:
    """Run the experiment for the seeds `count` - 1 to 0, and show its metrics over them.

    Args:
        count: how many seeds.
        experiment: what to run, but for its seed.
        run_once: runs one seed, and returns an exit code.

    Raises:
        UserError: a seed failed, or MLflow does not have its run.
    """
    outbox.start()
    with open_run(f"{title(experiment.config)}, {count} seeds", {"decant.seeds": str(count)}) as run_id:
        os.environ[SEEDS_RUN] = run_id
        for seed in reversed(range(count)):  # seed 0 comes last: data/ is left with it, if params.yaml has it
            print(f"seed {seed}, {count - seed} of {count}", flush=True)
            if run_once(seed):
                raise UserError(f"seed {seed} failed; correct what is said above, and {REMEDY}")
        runs = seed_runs(run_id, count)
        metrics = [run.data.metrics for run in runs]
        log_summary(Run(run_id), experiment, metrics)
        show(seed_report(runs[0]), metrics, experiment.evaluate.confidence)
    for run in runs:
        print(f"seed {run.data.params['seed']}: {run.data.tags.get('dvc.experiment', run.info.run_id)}")
    print(f"All seeds, for decant compare: {run_id}")


def seed_runs(run_id: str, count: int) -> list[MlflowRun]:
    """The MLflow runs of the seeds, in ascending order of the seed.

    Raises:
        UserError: some are missing, because the MLflow server was away.
    """
    runs = store.find(f"tags.`mlflow.parentRunId` = '{run_id}'")
    if len(runs) != count:
        raise UserError(
            f"MLflow has {len(runs)} of {count} seeds in run {run_id}; when its server is back: decant deliver, and "
            f"{REMEDY}"
        )
    return sorted(runs, key=lambda run: int(run.data.params["seed"]))


def log_summary(run: Run, experiment: Experiment, metrics: Sequence[Metrics]) -> None:
    """Log the config, and the metrics over all seeds."""
    run.log_params(experiment.config)
    summaries = summarize(metrics, experiment.evaluate.confidence)
    run.log_metrics({f"{name}/{k}": v for name, summary in summaries.items() for k, v in summary.items()})


def summarize(metrics: Sequence[Metrics], confidence: float) -> dict[str, Metrics]:
    """By each metric that all of two or more runs have: mean, standard deviation and interval of the mean."""
    names = set(metrics[0]).intersection(*metrics[1:])
    return {name: mean_interval([run[name] for run in metrics], confidence) for name in sorted(names)}


def mean_interval(values: Sequence[float], confidence: float) -> dict[str, float]:
    """Mean, standard deviation of the sample, and Student's t interval of the mean."""
    mean, std = itemgetter("mean", "std")(members.mean_and_std(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * std / len(values) ** 0.5
    return {"mean": mean, "std": std, "low": mean - half, "high": mean + half}


def seed_report(run: MlflowRun) -> roles.Metrics:
    """The metrics.json that evaluate logged to the run of a seed: it names the models and the columns of the report."""
    with TemporaryDirectory() as folder:
        return read_json(Path(mlflow.MlflowClient().download_artifacts(run.info.run_id, "metrics.json", folder)))


def show(report_metrics: roles.Metrics, metrics: Sequence[Metrics], confidence: float) -> None:
    """Print the columns of the report over all runs, times 100."""
    summaries = summarize(metrics, confidence)
    columns = report_metrics["report"]["columns"]
    lines = [
        [title, *(cell(summaries[f"{role}/{name}"], len(metrics)) for name, _ in columns)]
        for role, title in roles.titles(report_metrics).items()
    ]
    interval = f" [interval of the mean, {confidence:.0%}]" if len(metrics) >= MIN_SEEDS_FOR_INTERVAL else ""
    title = f"{len(metrics)} seeds: mean ± standard deviation{interval}"
    report.terminal().print(report.grid(title, ["model", *(head for _, head in columns)], lines))


def cell(summary: Metrics, count: int) -> str:
    """A share over `count` seeds in per cent."""
    mean, std, low, high = (f"{100 * summary[k]:.1f}" for k in ("mean", "std", "low", "high"))
    return f"{mean} ± {std}" + (f" [{low}, {high}]" if count >= MIN_SEEDS_FOR_INTERVAL else "")
