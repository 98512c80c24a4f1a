"""Score the linear floor, teacher, student and controls on test: quality, cost, and the difference with its interval.

python -m decant.evaluate [evaluate.resamples=10000]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from decant.config.schema import Evaluate
from decant.core.files import replacing
from decant.dataset.prepared import read_prepared
from decant.evaluation import bootstrap, latency, linear_baseline, plots, report, row_scores
from decant.evaluation.members import scores, together
from decant.experiment.experiment import Experiment
from decant.experiment.stage import run_stage
from decant.models import directory, predictions
from decant.models.predictions import ensemble_members, read_split
from decant.serving.model_formats import ONNX_FILE, ModelFormat
from decant.serving.predictor import OnnxPredictor
from decant.task import Scoring
from decant.tracking.runs import Run

MODELS = {
    "scratch": Path("data/fine_tune/control"),
    "teacher": Path("data/fine_tune"),
    "alone": Path("data/distill/control"),
    "student": Path("data/distill"),
}
"""The networks that are scored, by role, beside the linear `floor`."""
EXPORTED: dict[ModelFormat, Path] = {"onnx": MODELS["student"] / "onnx", "int8": MODELS["student"] / "int8"}
"""The student's files for ONNX Runtime, by role."""


def main(experiment: Experiment, run: Run) -> None:
    """Write metrics.json, rows.parquet and plots/ (the same bytes again), and `report.TIMED` (timings differ)."""
    knobs, task = experiment.evaluate, experiment.task
    prepared = read_prepared()
    test = prepared.frames["test"]
    folders = {r: d for r, d in (MODELS | EXPORTED).items() if d.is_dir() or r in ("teacher", "student")}
    networks = {
        r: [directory.load(f, prepared.modality) for f in ensemble_members(d)]
        for r, d in folders.items()
        if r in MODELS
    }
    linear = linear_baseline.fit(prepared, task.scoring)
    raw = prepared.modality.raw(test)
    logits = {"floor": task.scoring.linear_logits(linear, raw)}
    logits |= {role: read_split(folder, "test", prepared) for role, folder in folders.items()}
    target = np.stack(test["target"].to_list())
    metrics = scored(logits, target, prepared.labels, task.scoring, knobs, experiment.seed)
    metrics["floor"] |= linear_baseline.size(linear)
    for role, loaded in networks.items():
        metrics[role] |= {"parameters": parameters(loaded), "size_mb": size(ensemble_members(folders[role]))}
        if len(loaded) > 1:
            metrics[role]["members"] = scores(folders[role], prepared, task.scoring)
    for role in EXPORTED.keys() & folders:
        metrics[role] |= {"parameters": metrics["student"]["parameters"], "size_mb": size([MODELS["student"]], role)}
        metrics[role]["largest_difference"] = float(np.abs(logits[role] - logits["student"]).max())
    metrics["figures"]["floor"] = prepared.modality.baseline_features
    answers = {"floor": linear.predict} | {
        role: together([encoder.predict_fn(network) for network, encoder in loaded], task.objective)
        for role, loaded in networks.items()
    }
    threads = experiment.trainer.threads
    answers |= {r: OnnxPredictor(MODELS["student"], r, threads) for r in EXPORTED if r in folders}
    timings = latency.measure(answers, raw)
    with replacing(report.OUT / "plots") as folder:
        plots.headline(metrics, folder)
        plots.size(metrics, folder)
        plots.draw(task.scoring.picture(logits["student"], target, prepared.labels), folder)
        if "per_class" in metrics["student"]:
            report.per_class(metrics, prepared.labels).to_csv(folder / "per_class.csv", index=False)
    row_scores.write(
        report.OUT / row_scores.FILE,
        test,
        {r: task.scoring.sufficient_statistics(v, target) for r, v in logits.items()},
        experiment.seed,
        experiment.use["task"],
        prepared,
    )
    plots.latency(metrics, timings, report.OUT)
    report.write(metrics, timings, prepared.labels)
    run.log_dataset(test, "test", prepared.digests["test"])
    for record in (run, run.parent):
        if record is not None:
            report.log(record, metrics, timings)
    report.table(metrics, timings)


def scored(
    logits: dict[str, np.ndarray], target: np.ndarray, labels: list[str], scoring: Scoring, knobs: Evaluate, seed: int
) -> dict[str, Any]:
    """Figures of each role with the interval of the first, comparisons, and what a reader of them has to know."""
    found: dict[str, Any] = {r: scoring.metrics(v, target, labels, knobs.bins) for r, v in logits.items()}
    drawn = {role: bootstrap.drawn(v, target, scoring, knobs, seed) for role, v in logits.items()}
    for role, score in drawn.items():
        found[role]["interval"] = bootstrap.interval(score, knobs)
    found["compare"] = bootstrap.compare(logits, drawn, scoring, knobs)
    if "alone" in logits:
        found["gap"] = {r: bootstrap.gap(r, drawn, knobs) for r in ("student", *EXPORTED) if r in logits}
    found["figures"] = {
        "headline": scoring.primary_metric,
        "columns": list(scoring.metric_titles.items()),
        "agreeing": scoring.agreement_sentence,
    }
    found["figures"]["confidence"] = knobs.confidence
    return found


def parameters(networks: Sequence[tuple[PreTrainedModel, Any]]) -> int:
    """Of all networks together."""
    return sum(network.num_parameters() for network, _ in networks)


def size(folders: Sequence[Path], model_format: ModelFormat | None = None) -> float:
    """Megabytes of what a server needs, in all folders: weights or an ONNX file, config, tokenizer."""
    files = [f for folder in folders for f in folder.iterdir() if f.is_file() and f.name != predictions.FILE]
    if model_format:
        files = [f for f in files if f.suffix != ".safetensors"] + [f / model_format / ONNX_FILE for f in folders]
    return round(sum(f.stat().st_size for f in files) / 1e6, 3)


if __name__ == "__main__":
    run_stage("evaluate", main)
