"""Pictures and the tables behind them; equal figures have equal bytes."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from decant.evaluation.report import titles

matplotlib.use("Agg")  # no screen
from matplotlib import pyplot as plt

PNG = {"metadata": {"Software": None}, "dpi": 120}
"""No version in the file."""
CONTROLS = ("floor", "scratch", "alone")
MARKS = "vsDPoX*"
"""Of the models, in the order of the report."""


def headline(metrics: dict[str, Any], folder: Path) -> None:
    """headline.png: bars of the headline figure, one per model."""
    shown = titles(metrics)
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(shown) + 1), layout="constrained")
    name = metrics["figures"]["headline"]
    values = [100 * metrics[role][name] for role in shown]
    shades = ["#aaaaaa" if role in CONTROLS else "#4c72b0" for role in shown]
    bars = axes.barh(list(shown.values()), values, color=shades)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xlabel=f"{dict(metrics['figures']['columns'])[name]} on test", xlim=(0, 108))
    axes.invert_yaxis()
    figure.savefig(folder / "headline.png", **PNG)
    plt.close(figure)


def size(metrics: dict[str, Any], folder: Path) -> None:
    """size.png: the headline figure against megabytes on disk."""
    tradeoff(metrics, {role: metrics[role]["size_mb"] for role in titles(metrics)}, "MB on disk", folder / "size.png")


def latency(metrics: dict[str, Any], timings: dict[str, Any], folder: Path) -> None:
    """latency.png: the headline figure against the time of one answer."""
    values = {role: timings[role]["latency_ms_p50"] for role in titles(metrics)}
    tradeoff(metrics, values, "ms for one input (p50)", folder / "latency.png")


def tradeoff(metrics: dict[str, Any], costs: dict[str, float], name: str, file: Path) -> None:
    """A point with its interval for each model, costs on a logarithmic axis."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    head = metrics["figures"]["headline"]
    for (role, title), shape in zip(titles(metrics).items(), MARKS, strict=False):
        value, ends = 100 * metrics[role][head], [100 * metrics[role]["interval"][k] for k in ("low", "high")]
        spread = [[max(0.0, value - ends[0])], [max(0.0, ends[1] - value)]]
        shade = {"color": "#999999"} if role in CONTROLS else {}
        axes.errorbar(costs[role], value, spread, fmt=shape, markersize=8, capsize=3, label=title, **shade)
    axes.set(xscale="log", xlabel=name, ylabel=f"{dict(metrics['figures']['columns'])[head]} on test")
    axes.margins(x=0.1)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(file, **PNG)
    plt.close(figure)


def confusion(predicted: np.ndarray, target: np.ndarray, labels: list[str], folder: Path) -> None:
    """confusion.csv and answers.png of the student, rows: actual, columns: predicted; classes (N,), (N,)."""
    pairs = {"actual": [labels[i] for i in target], "predicted": [labels[i] for i in predicted]}
    pd.DataFrame(pairs).to_csv(folder / "confusion.csv", index=False)
    counts = confusion_matrix(target, predicted, labels=list(range(len(labels))))
    side = max(4.0, 0.3 * len(labels) + 2)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    axes.imshow(counts, cmap="Blues")
    ticks = range(len(labels))
    size = 8 if len(labels) <= 30 else 4
    axes.set_xticks(ticks, labels, rotation=90, fontsize=size)
    axes.set_yticks(ticks, labels, fontsize=size)
    axes.set(xlabel="predicted", ylabel="actual", title="student")
    for i, j in np.argwhere(counts) if len(labels) <= 30 else []:
        shade = "white" if counts[i, j] > counts.max() / 2 else "black"
        axes.text(j, i, counts[i, j], ha="center", va="center", fontsize=7, color=shade)
    figure.savefig(folder / "answers.png", **PNG)
    plt.close(figure)


def per_label(names: list[str], values: np.ndarray, folder: Path) -> None:
    """answers.png: bars of the F1 of the student, in percent, (C,) in the order of `names`."""
    figure, axes = plt.subplots(figsize=(7, 0.22 * len(names) + 1), layout="constrained")
    axes.barh(range(len(names)), values, color="#4c72b0")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="F1 % of the student on test (rows with the label)", xlim=(0, 100))
    axes.margins(y=0.01)
    axes.invert_yaxis()
    figure.savefig(folder / "answers.png", **PNG)
    plt.close(figure)


def scatter(answers: np.ndarray, target: np.ndarray, folder: Path) -> None:
    """answers.png: answers (N,) of the student against targets (N,), with the line where they are equal."""
    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    axes.scatter(target, answers, s=8, alpha=0.4, color="#4c72b0", linewidths=0)
    axes.axline((float(target[0]), float(target[0])), slope=1, color="#aaaaaa", zorder=0)
    axes.set(xlabel="target", ylabel="answer of the student", title="student on test")
    figure.savefig(folder / "answers.png", **PNG)
    plt.close(figure)
