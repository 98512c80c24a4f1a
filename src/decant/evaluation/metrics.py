"""The contents of metrics.json: the metrics of each model, and how the models compare."""

from collections.abc import Mapping

import numpy as np

from decant.config.schema import Evaluate
from decant.evaluation import bootstrap
from decant.evaluation.bootstrap import BootstrapSamples
from decant.evaluation.roles import EXPORTED, Metrics
from decant.task import Scoring


def role_metrics(
    logits: Mapping[str, np.ndarray],
    target: np.ndarray,
    labels: list[str],
    samples: Mapping[str, BootstrapSamples],
    scoring: Scoring,
    settings: Evaluate,
) -> dict[str, Metrics]:
    """The metrics of each role on test, with the interval of the primary metric."""
    metrics = {}
    for role, values in logits.items():
        interval = bootstrap.confidence_interval(samples[role].resampled, settings.confidence)
        metrics[role] = {**scoring.metrics(values, target, labels, settings.bins), "interval": interval._asdict()}
        if role in EXPORTED:
            metrics[role]["largest_difference"] = float(np.abs(values - logits["student"]).max())
    return metrics


def gaps(samples: Mapping[str, BootstrapSamples], confidence: float) -> dict[str, Metrics]:
    """How much of the gap between the student alone and the teacher each student closes; empty without the former."""
    if (alone := samples.get("student_alone")) is None:
        return {}
    students = [role for role in ("student", *EXPORTED) if role in samples]
    return {role: bootstrap.gap_closed(samples[role], alone, samples["teacher"], confidence) for role in students}


def report_facts(scoring: Scoring, confidence: float, linear_features: str) -> Metrics:
    """What the report has to know to show the metrics."""
    return {
        "primary_metric": scoring.primary_metric,
        "columns": list(scoring.metric_titles.items()),
        "agreement_sentence": scoring.agreement_sentence,
        "confidence": confidence,
        "linear_features": linear_features,
    }
