"""The result as a person reads it: a table on the terminal, Markdown with pictures, and figures for MLflow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import confusion_matrix

from decant import run
from decant.tracking import Run

matplotlib.use("Agg")  # no screen
from matplotlib import pyplot as plt

OUT = Path("data/evaluate")
TITLES = {
    "floor": "linear floor (TF-IDF)",
    "scratch": "from scratch (no transfer)",
    "teacher": "teacher",
    "alone": "student alone (no teacher)",
    "student": "student",
}
COLUMNS = (
    "model",
    *("accuracy %", "macro F1 %", "calibration error %"),
    *("parameters", "MB", "ms p50", "ms p95", "texts/s"),
)
PNG = {"metadata": {"Software": None}, "dpi": 120}
"""No version in the file: equal figures have equal bytes."""


def read(folder: Path = OUT) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and timings that `evaluate` wrote."""
    return run.read_json(folder / "metrics.json"), run.read_json(folder / "latency.json")


def rows(metrics: dict[str, Any], timings: dict[str, Any]) -> list[list[str]]:
    """One row of `COLUMNS` per model."""
    return [
        [
            title,
            *(f"{100 * m[k]:.1f}" for k in ("accuracy", "macro_f1", "calibration_error")),
            f"{m['parameters']:,}",
            f"{m['size_mb']:.1f}",
            *(f"{t[k]:.1f}" for k in ("latency_ms_p50", "latency_ms_p95")),
            f"{t['throughput']:,.0f}",
        ]
        for role, title in TITLES.items()
        if (m := metrics.get(role)) and (t := timings[role])
    ]


def sentences(metrics: dict[str, Any]) -> list[str]:
    """Each comparison in words: difference, interval, verdict."""
    lines = []
    for pair, c in metrics["compare"].items():
        first, second = (TITLES[role] for role in pair.split("_"))
        verdict = "better" if c["low"] > 0 else "worse" if c["high"] < 0 else "cannot tell"
        retained = "-" if c["retained"] is None else f"{100 * c['retained']:.1f}"
        lines.append(
            f"{first} against {second}: {100 * c['difference']:+.1f} points "
            f"[{100 * c['low']:+.1f}, {100 * c['high']:+.1f}], {verdict} at {100 * c['confidence']:g} %; "
            f"retains {retained} %, agrees on {100 * c['agreement']:.1f} % of test"
        )
    return lines


def table(metrics: dict[str, Any], timings: dict[str, Any]) -> None:
    """Print the result."""
    grid = Table(title="Test results")
    for i, column in enumerate(COLUMNS):
        grid.add_column(column, justify="right" if i else "left")
    for row in rows(metrics, timings):
        grid.add_row(*row)
    console = Console(width=None if Console().is_terminal else 140)
    console.print(grid)
    for line in sentences(metrics):
        console.print(line, highlight=False, soft_wrap=True)
    console.print("Report: data/evaluate/report.md. All runs: make ui", highlight=False)


def pipes(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)]


def markdown(metrics: dict[str, Any], timings: dict[str, Any], labels: list[str]) -> str:
    """The report."""
    lines = ["# Test results", "", *pipes(COLUMNS, rows(metrics, timings))]
    lines += ["", "Latency and throughput: raw text to class on the CPU, fp32, batch 1 and batch 32.", ""]
    lines += ["## Differences", "", "With paired bootstrap intervals over the test rows.", ""]
    lines += [f"- {line}" for line in sentences(metrics)]
    lines += ["", "![accuracy](plots/accuracy.png)", "", "## Classes", ""]
    each = per_class(metrics, labels).round(3)
    lines += pipes(list(each.columns), each.astype(str).to_numpy().tolist())
    lines += ["", "![confusion of the student](plots/confusion.png)", ""]
    return "\n".join(lines)


def log(target: Run, metrics: dict[str, Any], timings: dict[str, Any]) -> None:
    """Log the headline and the files of `OUT` to a run."""
    target.metrics(headline(metrics, timings))
    for name in ("metrics.json", "latency.json", "report.md"):
        target.artifact(OUT / name)
    target.artifact(OUT / "plots", "plots")


def headline(metrics: dict[str, Any], timings: dict[str, Any]) -> dict[str, float]:
    """What the runs table and the compare view of MLflow show: `student/accuracy`, `student/retained`, ..."""
    kept = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "calibration_error", "parameters", "size_mb")
    flat = {f"{r}/{k}": metrics[r][k] for r in TITLES if r in metrics for k in kept}
    flat |= {f"{role}/{k}": v for role, times in timings.items() for k, v in times.items()}
    against = metrics["compare"]["student_teacher"]
    flat |= {f"student/{k}": against[k] for k in ("retained", "agreement") if against[k] is not None}
    for pair, values in metrics["compare"].items():
        flat |= {f"compare/{pair}/{k}": values[k] for k in ("difference", "low", "high")}
    return flat


def per_class(metrics: dict[str, Any], labels: list[str]) -> pd.DataFrame:
    """Rows of class, then F1 of each model and precision and recall of the student."""
    roles = [role for role in TITLES if role in metrics]
    each = {f"{r} F1": [metrics[r]["per_class"][x]["f1"] for x in labels] for r in roles}
    student = metrics["student"]["per_class"]
    each |= {f"student {k}": [student[x][k] for x in labels] for k in ("precision", "recall")}
    return pd.DataFrame({"class": labels, **each})


def accuracy_figure(metrics: dict[str, Any], file: Path) -> None:
    """Bars of accuracy, one per model."""
    roles = [role for role in TITLES if role in metrics]
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(roles) + 1), layout="constrained")
    values = [100 * metrics[role]["accuracy"] for role in roles]
    shades = ["#4c72b0" if role in ("teacher", "student") else "#aaaaaa" for role in roles]
    bars = axes.barh([TITLES[role] for role in roles], values, color=shades)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xlabel="accuracy on test, %", xlim=(0, 108))
    axes.invert_yaxis()
    figure.savefig(file, **PNG)
    plt.close(figure)


def confusion_figure(target: np.ndarray, predicted: np.ndarray, labels: list[str], file: Path) -> None:
    """Confusion of the student, rows: actual, columns: predicted."""
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
    figure.savefig(file, **PNG)
    plt.close(figure)
