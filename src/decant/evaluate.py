"""Score teacher, student, baselines and controls on test: quality with intervals, cost, and paired comparisons.

python -m decant.evaluate [evaluate.resamples=10000]
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from transformers import PreTrainedModel

from decant.config.schema import Evaluate
from decant.core.files import replacing
from decant.dataset.modality import Encoder
from decant.dataset.prepared import Prepared, read_prepared
from decant.evaluation import bootstrap, latency, linear_baseline, plots, report, row_scores
from decant.evaluation.members import joint, member_scores
from decant.experiment.experiment import Experiment
from decant.experiment.stage import run_stage
from decant.models import directory, predictions
from decant.models.predictions import ensemble_members, read_split
from decant.serving.model_formats import ONNX_FILE, ModelFormat
from decant.serving.predictor import OnnxPredictor
from decant.task import Scoring, Task
from decant.tracking.runs import Run

NETWORKS = {
    "scratch": Path("data/fine_tune/control"),
    "teacher": Path("data/fine_tune"),
    "student_alone": Path("data/distill/control"),
    "student": Path("data/distill"),
}
"""Model directories that are scored, by role."""
FORMATS: dict[str, ModelFormat] = {"student_onnx": "onnx", "student_int8": "int8"}
"""The student's files for ONNX Runtime, by role."""
EXPORTED = {role: NETWORKS["student"] / name for role, name in FORMATS.items()}
REQUIRED = ("teacher", "student")
Loaded = Sequence[tuple[PreTrainedModel, Encoder]]
"""The members of a model: one, or those of an ensemble."""


def main(experiment: Experiment, run: Run) -> None:
    """Write metrics.json, rows.parquet and plots/ (equal bytes each time), and `report.TIMED` (timings differ)."""
    settings, task = experiment.evaluate, experiment.task
    prepared = read_prepared()
    test = prepared.frames["test"]
    folders = {r: f for r, f in (NETWORKS | EXPORTED).items() if f.is_dir() or r in REQUIRED}
    networks = {role: load(folder, prepared) for role, folder in folders.items() if role in NETWORKS}
    linear, inputs = linear_baseline.fit(prepared, task.scoring), prepared.modality.raw(test)
    logits = {"linear": task.scoring.linear_logits(linear, inputs)}
    logits |= {role: read_split(folder, "test", prepared) for role, folder in folders.items()}
    target = np.stack(test["target"].to_list())
    statistics = {role: task.scoring.sufficient_statistics(v, target) for role, v in logits.items()}
    metrics = score(logits, target, statistics, prepared.labels, task.scoring, settings, experiment.seed)
    metrics["report"] = about(task.scoring, settings, prepared)
    for role, values in costs(linear, networks, folders).items():
        metrics[role] |= values
    for role, loaded in networks.items():
        if len(loaded) > 1:
            metrics[role]["members"] = member_scores(folders[role], prepared, task.scoring)
    for role in EXPORTED.keys() & folders:
        metrics[role]["largest_difference"] = float(np.abs(logits[role] - logits["student"]).max())
    timings = latency.measure(servers(linear, networks, folders, task, experiment.trainer.threads), inputs)
    draw(metrics, logits["student"], target, prepared.labels, task.scoring)
    plots.latency(metrics, timings, report.OUT)
    facts = row_scores.Metadata(experiment.seed, experiment.use["task"], prepared.digests["test"])
    row_scores.write(report.OUT / row_scores.FILE, test["row_id"].to_list(), statistics, facts)
    report.write(metrics, timings, prepared.labels)
    run.log_dataset(test, "test", prepared.digests["test"])
    for record in (run, run.parent):
        if record is not None:
            report.log(record, metrics, timings)
    report.print_result(metrics, timings)


def load(folder: Path, prepared: Prepared) -> Loaded:
    """The network of a model directory, or those of an ensemble."""
    return [directory.load(member, prepared.modality) for member in ensemble_members(folder)]


def score(
    logits: Mapping[str, np.ndarray],
    target: np.ndarray,
    statistics: Mapping[str, np.ndarray],
    labels: list[str],
    scoring: Scoring,
    settings: Evaluate,
    seed: int,
) -> dict[str, Any]:
    """The metrics of each role with the interval of the primary one, and all comparisons."""
    samples = {role: bootstrap.resample(v, scoring, settings, seed) for role, v in statistics.items()}
    scores: dict[str, Any] = {role: scoring.metrics(v, target, labels, settings.bins) for role, v in logits.items()}
    for role in scores:
        interval = bootstrap.confidence_interval(samples[role].resampled, settings.confidence)
        scores[role]["interval"] = interval._asdict()
    scores["compare"] = bootstrap.compare(logits, samples, scoring, settings)
    if alone := samples.get("student_alone"):
        students = [role for role in ("student", *EXPORTED) if role in samples]
        scores["gap"] = {
            r: bootstrap.gap_closed(samples[r], alone, samples["teacher"], settings.confidence) for r in students
        }
    return scores


def about(scoring: Scoring, settings: Evaluate, prepared: Prepared) -> dict[str, Any]:
    """What the report has to know of the metrics."""
    return {
        "primary_metric": scoring.primary_metric,
        "columns": list(scoring.metric_titles.items()),
        "agreement_sentence": scoring.agreement_sentence,
        "confidence": settings.confidence,
        "linear_features": prepared.modality.baseline_features,
    }


def costs(linear: Pipeline, networks: Mapping[str, Loaded], folders: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Parameters and megabytes of each role."""
    found = {"linear": linear_baseline.size(linear)}
    for role, loaded in networks.items():
        parameters = sum(network.num_parameters() for network, _ in loaded)
        found[role] = {"parameters": parameters, "size_mb": megabytes(ensemble_members(folders[role]))}
    for role in (r for r in EXPORTED if r in folders):
        exported_size = megabytes([NETWORKS["student"]], FORMATS[role])
        found[role] = {"parameters": found["student"]["parameters"], "size_mb": exported_size}
    return found


def megabytes(folders: Sequence[Path], exported: ModelFormat | None = None) -> float:
    """Size of what a server needs of all folders: weights or the `exported` file, config, tokenizer."""
    files = [f for folder in folders for f in folder.iterdir() if f.is_file() and f.name != predictions.FILE]
    if exported:
        files = [f for f in files if f.suffix != ".safetensors"] + [f / exported / ONNX_FILE for f in folders]
    return round(sum(f.stat().st_size for f in files) / 1e6, 3)


def servers(
    linear: Pipeline, networks: Mapping[str, Loaded], folders: Mapping[str, Path], task: Task, threads: int
) -> dict[str, Callable[[Sequence[Any]], object]]:
    """{role: a function from raw inputs to predictions}, as a server has it."""
    models: dict[str, Callable[[Sequence[Any]], object]] = {"linear": linear.predict}
    for role, loaded in networks.items():
        models[role] = joint([encoder.predict_fn(network) for network, encoder in loaded], task.objective)
    for role in (r for r in EXPORTED if r in folders):
        models[role] = OnnxPredictor(NETWORKS["student"], FORMATS[role], threads)
    return models


def draw(metrics: dict[str, Any], logits: np.ndarray, target: np.ndarray, labels: list[str], scoring: Scoring) -> None:
    """Write plots/, with the student's logits (N, C) on test."""
    with replacing(report.OUT / "plots") as folder:
        plots.primary_metric(metrics, folder)
        plots.size(metrics, folder)
        plots.draw(scoring.picture(logits, target, labels), folder)
        if "per_class" in metrics["student"]:
            report.per_class(metrics, labels).to_csv(folder / "per_class.csv", index=False)


if __name__ == "__main__":
    run_stage("evaluate", main)
