"""Score the linear floor, teacher, student and controls on test: quality, cost, and the difference with its interval.

python -m decant.evaluate [evaluate.resamples=10000]
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from transformers import PreTrainedModel

from decant import datamodule, floor, latency, model, report, run, statistics
from decant.config import Evaluate, settings
from decant.report import OUT
from decant.tracking import Run

MODELS = {
    "scratch": Path("data/fine_tune/control"),
    "teacher": Path("data/fine_tune"),
    "alone": Path("data/distill/control"),
    "student": Path("data/distill"),
}
"""The networks that are scored, by role, beside the linear `floor`."""


def main(cfg: DictConfig, tracked: Run) -> None:
    """Write metrics.json and plots/ (the same bytes again), and latency.json and report.md (timings differ)."""
    knobs: Evaluate = settings(cfg, "evaluate")
    frames = datamodule.read()
    labels = datamodule.labels()
    folders = {role: folder for role, folder in MODELS.items() if folder.is_dir()}
    linear = floor.fit(frames["train"], frames["validation"])
    logits = {"floor": floor.logits(linear, frames["test"]["input"])}
    ids, digest = frames["test"]["row_id"].tolist(), datamodule.digests()["test"]
    for role, folder in folders.items():
        logits[role] = model.read_predictions(folder / "predictions.parquet", "test", ids, digest)
    target = frames["test"]["target"].to_numpy()
    metrics: dict[str, Any] = {r: statistics.scores(v, target, labels, knobs.bins) for r, v in logits.items()}
    metrics["floor"] |= floor.size(linear)
    networks = {role: model.load(folder) for role, folder in folders.items()}
    for role, folder in folders.items():
        metrics[role] |= size(networks[role][0], folder)
    metrics["compare"] = statistics.compare(logits, target, knobs, cfg.seed)
    timings = latency.measure(linear, networks, frames["test"]["input"].tolist())
    write(metrics, timings, logits, target, labels)
    publish(tracked, metrics, timings, frames["test"])
    report.table(metrics, timings)


def size(network: PreTrainedModel, folder: Path) -> dict[str, Any]:
    """Parameters, and megabytes on disk of what a server needs: weights, config, tokenizer."""
    files = [f for f in folder.iterdir() if f.is_file() and f.name != "predictions.parquet"]
    return {
        "parameters": network.num_parameters(),
        "size_mb": round(sum(f.stat().st_size for f in files) / 1e6, 3),
    }


def write(
    metrics: dict[str, Any],
    timings: dict[str, Any],
    logits: dict[str, np.ndarray],
    target: np.ndarray,
    labels: list[str],
) -> None:
    """All files of the stage; nothing is replaced before all are computed."""
    OUT.mkdir(parents=True, exist_ok=True)
    with run.replacing(OUT / "plots") as plots:
        student = logits["student"].argmax(1)
        confusion = {"actual": [labels[i] for i in target], "predicted": [labels[i] for i in student]}
        pd.DataFrame(confusion).to_csv(plots / "confusion.csv", index=False)
        report.per_class(metrics, labels).to_csv(plots / "per_class.csv", index=False)
        report.accuracy_figure(metrics, plots / "accuracy.png")
        report.confusion_figure(target, student, labels, plots / "confusion.png")
    run.write_json(OUT / "metrics.json", metrics)
    run.write_json(OUT / "latency.json", timings)
    (OUT / "report.md").write_text(report.markdown(metrics, timings, labels), "utf-8")


def publish(tracked: Run, metrics: dict[str, Any], timings: dict[str, Any], test: pd.DataFrame) -> None:
    """Log figures and files to the stage's run and, where people compare, to the parent."""
    tracked.dataset(test, "test")
    for target in (tracked, tracked.parent):
        if target is not None:
            report.log(target, metrics, timings)


if __name__ == "__main__":
    run.stage("evaluate", main)
