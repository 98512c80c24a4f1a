"""The pictures of a result, and the tables behind them; equal metrics give equal bytes."""

import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from decant.evaluation.labels import for_picture
from decant.evaluation.roles import CONTROLS, Metrics, Timings, titles
from decant.task import Confusion, LabelScores, Picture, Scatter

matplotlib.use("Agg")  # no screen
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

BLUE = "#4c72b0"
GREY = "#aaaaaa"
MAX_LEGIBLE = 30
"""Classes of a confusion matrix, up to which its cells show counts."""
MAX_NAMED = 200
"""Labels up to which a picture names them: a thousand names take a minute, and are too small to read."""
MAX_INCHES = 30.0
"""Side of a confusion matrix: with 100 inches it would take gigabytes, and matplotlib refuses 65,536 pixels."""
MARKERS = "vsDPoX*"
"""Of the models, in the order of the report."""


def primary_metric(metrics: Metrics, folder: Path) -> None:
    """Write primary_metric.png: a bar for each model."""
    shown = titles(metrics)
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(shown) + 1), layout="constrained")
    name = metrics["report"]["primary_metric"]
    values = [100 * metrics[role][name] for role in shown]
    colors = [GREY if role in CONTROLS else BLUE for role in shown]
    bars = axes.barh(list(shown.values()), values, color=colors)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xlabel=axis_label(metrics), xlim=(0, 108))
    axes.invert_yaxis()
    save(figure, folder / "primary_metric.png")


def size(metrics: Metrics, folder: Path) -> None:
    """Write size.png: the primary metric against megabytes on disk."""
    tradeoff(metrics, {role: metrics[role]["size_mb"] for role in titles(metrics)}, "MB on disk", folder / "size.png")


def latency(metrics: Metrics, timings: Timings, folder: Path) -> None:
    """Write latency.png: the primary metric against the time of one answer."""
    costs = {role: timings[role]["latency_ms_p50"] for role in titles(metrics)}
    tradeoff(metrics, costs, "ms for one input (p50)", folder / "latency.png")


def tradeoff(metrics: Metrics, costs: dict[str, float], cost_label: str, file: Path) -> None:
    """A point with its confidence interval for each model, costs on a logarithmic axis."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    name = metrics["report"]["primary_metric"]
    for (role, title), marker in zip(titles(metrics).items(), MARKERS, strict=False):
        value, (low, high) = 100 * metrics[role][name], (100 * metrics[role]["interval"][k] for k in ("low", "high"))
        spread = [[max(0.0, value - low)], [max(0.0, high - value)]]
        color = {"color": "#999999"} if role in CONTROLS else {}
        axes.errorbar(costs[role], value, spread, fmt=marker, markersize=8, capsize=3, label=title, **color)
    axes.set(xscale="log", xlabel=cost_label, ylabel=axis_label(metrics))
    axes.margins(x=0.1)
    figure.legend(loc="outside right upper", fontsize=8)
    save(figure, file)


def axis_label(metrics: Metrics) -> str:
    """The title of the primary metric, as an axis shows it."""
    return f"{dict(metrics['report']['columns'])[metrics['report']['primary_metric']]} on test"


def draw(picture: Picture, folder: Path) -> None:
    """Draw the picture of the student's predictions on test as answers.png."""
    match picture:
        case Confusion():
            confusion(picture, folder)
        case LabelScores():
            label_scores(picture, folder)
        case Scatter():
            scatter(picture, folder)


def confusion(picture: Confusion, folder: Path) -> None:
    """Write confusion.csv, and answers.png with a row for each actual class and a column for each predicted one."""
    labels = picture.labels
    names = {"actual": [labels[i] for i in picture.target], "predicted": [labels[i] for i in picture.predicted]}
    pd.DataFrame(names).to_csv(folder / "confusion.csv", index=False)
    counts = confusion_matrix(picture.target, picture.predicted, labels=list(range(len(labels))))
    side = min(max(4.0, 0.3 * len(labels) + 2), MAX_INCHES)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    axes.imshow(counts, cmap="Blues")
    ticks = range(len(labels))
    size = 8 if len(labels) <= MAX_LEGIBLE else 4
    if len(labels) <= MAX_NAMED:
        axes.set_xticks(ticks, shown := list(map(for_picture, labels)), rotation=90, fontsize=size)
        axes.set_yticks(ticks, shown, fontsize=size)
    axes.set(xlabel="predicted", ylabel="actual", title="student")
    for i, j in np.argwhere(counts) if len(labels) <= MAX_LEGIBLE else []:
        shade = "white" if counts[i, j] > counts.max() / 2 else "black"
        axes.text(j, i, counts[i, j], ha="center", va="center", fontsize=7, color=shade)
    save(figure, folder / "answers.png")


def label_scores(picture: LabelScores, folder: Path) -> None:
    """Write answers.png: the score of each label in percent, from the most frequent to the 200th."""
    order = np.argsort(-picture.support, kind="stable")[:MAX_NAMED]
    names = [f"{for_picture(picture.labels[i])} ({picture.support[i]})" for i in order]
    figure, axes = plt.subplots(figsize=(7, 0.22 * len(names) + 1), layout="constrained")
    axes.barh(range(len(names)), 100 * picture.scores[order], color=BLUE)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel=f"{picture.metric} % of the student on test (rows with the label)", xlim=(0, 100))
    axes.margins(y=0.01)
    axes.invert_yaxis()
    save(figure, folder / "answers.png")


def scatter(picture: Scatter, folder: Path) -> None:
    """Write answers.png: predicted numbers against targets, with the line where they are equal."""
    start = float(picture.target[0])
    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    axes.scatter(picture.target, picture.predicted, s=8, alpha=0.4, color=BLUE, linewidths=0)
    axes.axline((start, start), slope=1, color=GREY, zorder=0)
    axes.set(xlabel="target", ylabel="answer of the student", title="student on test")
    save(figure, folder / "answers.png")


def save(figure: Figure, file: Path) -> None:
    """Write a figure as PNG and close it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # labels in scripts that its font lacks
        # without matplotlib's version in the file
        figure.savefig(file, metadata={"Software": None}, dpi=120)
    plt.close(figure)
