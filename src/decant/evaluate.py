"""Score the linear floor, teacher, student and controls on test: quality, cost, and the difference with its interval.

python -m decant.evaluate [evaluate.resamples=10000]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from transformers import PreTrainedModel

from decant import floor, folds, latency, model, plots, report, run, statistics, tables
from decant.config import piece, settings
from decant.sections import Evaluate
from decant.task import Task
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
    task: Task = piece(cfg, "task")
    prepared = tables.read()
    test = prepared.frames["test"]
    networks = {
        r: [model.load(f, prepared.modality) for f in folds.members(d)]
        for r, d in MODELS.items()
        if d.is_dir() or r in ("teacher", "student")
    }
    linear = floor.fit(prepared, task)
    raw = prepared.modality.raw(test)
    logits = {"floor": task.linear_logits(linear, raw)}
    for role in networks:
        logits[role] = folds.predictions(MODELS[role], "test", prepared)
    target = np.stack(test["target"].to_list())
    metrics: dict[str, Any] = {r: task.scores(v, target, prepared.labels, knobs.bins) for r, v in logits.items()}
    metrics["floor"] |= floor.size(linear)
    for role, members in networks.items():
        metrics[role] |= size([network for network, _ in members], folds.members(MODELS[role]))
        if len(members) > 1:
            metrics[role]["folds"] = folds.scores(MODELS[role], prepared, task)
    metrics["compare"] = statistics.compare(logits, target, task, knobs, cfg.seed)
    metrics["figures"] = {"headline": task.monitor, "columns": list(task.columns.items()), "agreeing": task.agreeing}
    metrics["figures"]["floor"] = prepared.modality.floor
    answers = {"floor": linear.predict} | {
        role: folds.together([encoder.answer(network) for network, encoder in members], task)
        for role, members in networks.items()
    }
    timings = latency.measure(answers, raw)
    with run.replacing(report.OUT / "plots") as folder:
        plots.headline(metrics, folder)
        task.plots(logits["student"], target, prepared.labels, folder)
        if "per_class" in metrics["student"]:
            report.per_class(metrics, prepared.labels).to_csv(folder / "per_class.csv", index=False)
    report.write(metrics, timings, prepared.labels)
    tracked.dataset(test, "test", prepared.digests["test"])
    for record in (tracked, tracked.parent):
        if record is not None:
            report.log(record, metrics, timings)
    report.table(metrics, timings)


def size(networks: Sequence[PreTrainedModel], folders: Sequence[Path]) -> dict[str, Any]:
    """Parameters, and megabytes on disk of what a server needs: weights, config, tokenizer; of all folds."""
    files = [f for folder in folders for f in folder.iterdir() if f.is_file() and f.name != "predictions.parquet"]
    return {
        "parameters": sum(network.num_parameters() for network in networks),
        "size_mb": round(sum(f.stat().st_size for f in files) / 1e6, 3),
    }


if __name__ == "__main__":
    run.stage("evaluate", main)
