"""Score teacher, student, baselines and controls on test: quality with intervals, cost, and paired comparisons.

python -m decant evaluate [evaluate.resamples=10000]
"""

import numpy as np

from decant.core.files import replacing
from decant.dataset.prepared import Prepared, read_prepared
from decant.evaluation import bootstrap, latency, plots, report, row_scores
from decant.evaluation.members import member_scores
from decant.evaluation.metrics import gaps, report_facts, role_metrics
from decant.evaluation.roles import Metrics
from decant.evaluation.scored_models import NETWORKS, load_models
from decant.experiment.experiment import Experiment
from decant.experiment.stage import run_stage
from decant.task import Scoring
from decant.tracking.runs import Run


def main(experiment: Experiment, run: Run) -> None:
    """Write metrics.json, rows.parquet and plots/ (equal bytes each time), and `report.TIMED` (timings differ)."""
    task, prepared = experiment.task, read_prepared()
    test, digest = prepared.frames["test"], prepared.digests["test"]
    target = np.stack(test["target"].to_list())
    models = load_models(prepared, task.scoring)
    logits = models.logits(prepared, task.scoring)
    statistics = {role: task.scoring.sufficient_statistics(v, target) for role, v in logits.items()}
    metrics = score(experiment, prepared, logits, target, statistics)
    for role, costs in models.costs().items():
        metrics[role] |= costs
    for role, members in models.networks.items():
        if len(members) > 1:
            metrics[role]["members"] = member_scores(NETWORKS[role], prepared, task.scoring)
    timings = latency.measure(models.predict_fns(task, experiment.trainer.threads), prepared.modality.raw(test))
    draw(metrics, prepared, logits["student"], target, task.scoring)
    plots.latency(metrics, timings, report.OUT)
    metadata = row_scores.Metadata(experiment.seed, experiment.use["task"], digest)
    row_scores.write(report.OUT / row_scores.FILE, test["row_id"], statistics, metadata)
    report.write(metrics, timings, prepared.labels)
    run.log_dataset(test, "test", digest)
    for logged_run in (run, run.parent):
        if logged_run is not None:
            report.log(logged_run, metrics, timings)
    report.print_result(metrics, timings)


def score(
    experiment: Experiment,
    prepared: Prepared,
    logits: dict[str, np.ndarray],
    target: np.ndarray,
    statistics: dict[str, np.ndarray],
) -> Metrics:
    """The metrics of each role, comparisons between roles, and what the report needs to show them."""
    scoring, settings = experiment.task.scoring, experiment.evaluate
    samples = {role: bootstrap.resample(v, scoring, settings, experiment.seed) for role, v in statistics.items()}
    metrics: Metrics = role_metrics(logits, target, prepared.labels, samples, scoring, settings)
    metrics["compare"] = bootstrap.compare(logits, samples, scoring, settings)
    if closed := gaps(samples, settings.confidence):
        metrics["gap"] = closed
    metrics["report"] = report_facts(scoring, settings.confidence, prepared.modality.baseline_features)
    return metrics


def draw(metrics: Metrics, prepared: Prepared, logits: np.ndarray, target: np.ndarray, scoring: Scoring) -> None:
    """Write plots/, with the student's logits (N, C) on test."""
    with replacing(report.OUT / "plots") as folder:
        plots.primary_metric(metrics, folder)
        plots.size(metrics, folder)
        plots.draw(scoring.picture(logits, target, prepared.labels), folder)
        if "per_class" in metrics["student"]:
            report.per_class(metrics, prepared.labels).to_csv(folder / "per_class.csv", index=False)


if __name__ == "__main__":
    run_stage("evaluate", main)
