"""`make experiment SEEDS=5`: one experiment under several seeds, and what its figures are over them.

Each seed is an experiment of DVC's and a run in MLflow, within a run that holds, of each metric m, m/mean, m/std (of
the sample), and the ends of the interval of the mean, m/low and m/high (Student's t).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

from scipy import stats

from decant.core.errors import UserError
from decant.evaluation import members, report, roles
from decant.experiment.experiment import Experiment
from decant.tracking import outbox, store
from decant.tracking.runs import SEEDS_RUN, Run, open_run, title

Figures = Mapping[str, float]
FEW = 3
"""Seeds, from which on an interval is shown."""


def several(count: int, experiment: Experiment, one: Callable[[int], int]) -> None:
    """Run the experiment for the seeds `count` - 1 to 0 by `one`, which gives an exit code, and show their figures.

    Raises:
        UserError: one of them failed.
    """
    outbox.start()
    with open_run(f"{title(experiment.config)}, {count} seeds", {"decant.seeds": str(count)}) as run_id:
        os.environ[SEEDS_RUN] = run_id
        for seed in reversed(range(count)):  # the last one stays in params.yaml and data/
            print(f"seed {seed}, {count - seed} of {count}", flush=True)
            if one(seed):
                raise UserError(
                    f"seed {seed} did not come to its end; mend what is said above and run the same again: seeds that "
                    "are done come from DVC's cache"
                )
        runs = store.find(f"tags.`mlflow.parentRunId` = '{run_id}'")
        each = [run.data.metrics for run in runs]
        if len(each) != count:
            raise UserError(
                f"MLflow has {len(each)} of {count} seeds in run {run_id}; when its server is back: decant deliver, "
                "and run the same again: seeds that are done come from DVC's cache"
            )
        whole = Run(run_id)
        whole.log_params(experiment.config)
        whole.log_metrics({f"{m}/{k}": v for m, found in summary(each, experiment.evaluate.confidence).items()
                           for k, v in found.items()})  # fmt: skip
        show(each, experiment.evaluate.confidence)
    for run in sorted(runs, key=lambda run: int(run.data.params["seed"])):
        print(f"seed {run.data.params['seed']}: {run.data.tags.get('dvc.experiment', run.info.run_id)}")
    print(f"All of them, for decant compare: {run_id}")


def summary(each: Sequence[Figures], confidence: float) -> dict[str, Figures]:
    """Of each metric that all of two or more runs have: mean, standard deviation and interval of the mean."""
    names = set(each[0]).intersection(*each[1:])
    return {name: spread([figures[name] for figures in each], confidence) for name in sorted(names)}


def spread(values: Sequence[float], confidence: float) -> dict[str, float]:
    """Mean, standard deviation of the sample, and Student's interval of the mean."""
    mean, std = itemgetter("mean", "std")(members.mean_and_std(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * std / len(values) ** 0.5
    return {"mean": mean, "std": std, "low": mean - half, "high": mean + half}


def show(each: Sequence[Figures], confidence: float) -> None:
    """Print the figures of the report over all runs, times 100."""
    metrics, _ = report.read()
    found = summary(each, confidence)
    columns = metrics["report"]["columns"]
    lines = [
        [title, *(words(found[f"{role}/{metric}"], len(each)) for metric, _ in columns)]
        for role, title in roles.titles(metrics).items()
    ]
    interval = f" [interval of the mean, {confidence:.0%}]" if len(each) >= FEW else ""
    title = f"{len(each)} seeds: mean ± standard deviation{interval}"
    report.terminal().print(report.grid(title, ["model", *(head for _, head in columns)], lines))


def words(found: Figures, count: int) -> str:
    """Of a share, in per cent; the interval of two says nothing."""
    mean, std, low, high = (f"{100 * found[k]:.1f}" for k in ("mean", "std", "low", "high"))
    return f"{mean} ± {std}" + (f" [{low}, {high}]" if count >= FEW else "")
