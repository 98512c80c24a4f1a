"""The result as people read it: a table on the terminal, Markdown with pictures, and metrics in MLflow."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from decant.core.files import read_json, write_json
from decant.evaluation import row_scores
from decant.evaluation.labels import for_markdown
from decant.evaluation.roles import EXPORTED, Metrics, Timings, comparison, titles
from decant.evaluation.summary import RETAINED, members, sentences, speed
from decant.tracking.runs import Run

OUT = Path("data/evaluate")
TIMED = ("latency.json", "latency.png", "report.md")
"""Files that differ from run to run, and so are none of DVC's outputs."""
COSTS = ("parameters", "MB", "ms p50", "ms p95", "inputs/s")
SECTION_PLOTS = ("primary_metric", "size")
"""Pictures in plots/ that have a place of their own in the report."""


def read(folder: Path = OUT) -> tuple[Metrics, Timings]:
    """The metrics and timings that `evaluate` wrote."""
    return read_json(folder / "metrics.json"), read_json(folder / "latency.json")


def write(metrics: Metrics, timings: Timings, labels: list[str]) -> None:
    """Write metrics.json, and what differs from run to run: latency.json and report.md."""
    write_json(OUT / "metrics.json", metrics)
    write_json(OUT / "latency.json", timings)
    (OUT / "report.md").write_text(markdown(metrics, timings, labels), "utf-8")


# --- the table


def columns(metrics: Metrics) -> list[str]:
    """The titles of the table's columns."""
    return ["model", *(title for _, title in metrics["report"]["columns"]), *COSTS]


def rows(metrics: Metrics, timings: Timings) -> list[list[str]]:
    """The cells of the table, a row for each model."""
    return [
        [
            title,
            *(f"{100 * metrics[role][k]:.1f}{interval(metrics, role, k)}" for k, _ in metrics["report"]["columns"]),
            f"{metrics[role]['parameters']:,}",
            f"{metrics[role]['size_mb']:.1f}",
            *(f"{timings[role][k]:.1f}" for k in ("latency_ms_p50", "latency_ms_p95")),
            f"{timings[role]['throughput']:,.0f}",
        ]
        for role, title in titles(metrics).items()
    ]


def interval(metrics: Metrics, role: str, metric: str) -> str:
    """The interval of the primary metric; empty for other metrics."""
    if metric != metrics["report"]["primary_metric"]:
        return ""
    return " [{:.1f}, {:.1f}]".format(*(100 * metrics[role]["interval"][k] for k in ("low", "high")))


def per_class(metrics: Metrics, labels: list[str]) -> pd.DataFrame:
    """A row for each class: F1 of each model, precision and recall of the student."""
    scores = {f"{r} F1": [metrics[r]["per_class"][label]["f1"] for label in labels] for r in titles(metrics)}
    student = metrics["student"]["per_class"]
    scores |= {f"student {k}": [student[label][k] for label in labels] for k in ("precision", "recall")}
    return pd.DataFrame({"class": list(map(for_markdown, labels)), **scores})


# --- the terminal


def print_result(metrics: Metrics, timings: Timings) -> None:
    """Print the table and the sentences."""
    console = terminal()
    heads, lines = columns(metrics), rows(metrics, timings)
    table = grid("Test results", heads, lines)
    if console.measure(table).maximum <= console.width:
        console.print(table)
    else:  # one table for quality, one for cost
        quality = len(heads) - len(COSTS)
        console.print(grid("Test results", heads[:quality], [line[:quality] for line in lines]))
        console.print(grid("Costs", [heads[0], *COSTS], [[line[0], *line[quality:]] for line in lines]))
    for sentence in members(metrics) + speed(metrics, timings) + sentences(metrics):
        console.print(sentence, highlight=False, soft_wrap=True)
    console.print("Report: data/evaluate/report.md. All runs: make ui", highlight=False)


def terminal() -> Console:
    """The terminal, or 140 columns where there is none."""
    return Console(width=None if Console().is_terminal else 140)


def grid(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """A table for the terminal; all columns but the first are numbers."""
    table = Table(title=Text(title))
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left")
    for line in lines:
        table.add_row(*line)
    return table


# --- report.md


def markdown(metrics: Metrics, timings: Timings, labels: list[str]) -> str:
    """The contents of report.md."""
    remarks = speed(metrics, timings) + members(metrics)
    lines = ["# Test results", "", markdown_table(columns(metrics), rows(metrics, timings))]
    lines += ["", "Latency and throughput: raw input to answer on the CPU, batch 1 and batch 32; PyTorch in fp32.", ""]
    lines += [f"{remark[0].upper()}{remark[1:]}.\n" for remark in remarks]
    lines += ["## Differences", "", "With paired bootstrap intervals over the test rows.", ""]
    lines += [f"- {sentence}" for sentence in sentences(metrics)]
    lines += ["", "![the primary metric of each model](plots/primary_metric.png)", ""]
    lines += ["![against the time of an answer](latency.png)", "", "![against the size](plots/size.png)", ""]
    if "per_class" in metrics["student"]:
        classes = per_class(metrics, labels).round(3).astype(str)
        lines += ["## Classes", "", markdown_table(list(classes.columns), classes.to_numpy().tolist()), ""]
    plots = [plot for plot in sorted((OUT / "plots").glob("*.png")) if plot.stem not in SECTION_PLOTS]
    lines += [f"![{plot.stem} of the student](plots/{plot.name})\n" for plot in plots]
    return "\n".join(lines)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; cells stay as they are."""
    return tabulate(rows, columns, tablefmt="github", disable_numparse=True)


# --- MLflow


def log(run: Run, metrics: Metrics, timings: Timings) -> None:
    """Log the metrics and the files in `OUT` to a run."""
    run.log_metrics(mlflow_metrics(metrics, timings))
    for name in ("metrics.json", row_scores.FILE, *TIMED):
        run.log_artifact(OUT / name)
    run.log_artifact(OUT / "plots", "plots")


def mlflow_metrics(metrics: Metrics, timings: Timings) -> dict[str, float]:
    """What MLflow's runs table and compare view show: `student/accuracy`, `student/retained`, ..."""
    roles = titles(metrics)
    flat = {f"{role}/{k}": v for role in roles for k, v in metrics[role].items() if not isinstance(v, dict)}
    flat |= {f"{role}/{k}": v for role, times in timings.items() for k, v in times.items()}
    flat |= retained_metrics(metrics) | member_metrics(metrics) | export_metrics(metrics, timings)
    for role, gap in metrics.get("gap", {}).items():
        flat |= {f"{role}/gap_{k}": v for k, v in gap.items() if isinstance(v, float)}
    for pair, values in metrics["compare"].items():
        flat |= {f"compare/{pair}/{k}": values[k] for k in ("difference", "low", "high")}
    return flat


def retained_metrics(metrics: Metrics) -> dict[str, float]:
    """What each student retains of its teacher."""
    flat: dict[str, float] = {}
    for role in ("student", *EXPORTED):
        compared = metrics["compare"].get(comparison(role, "teacher"), {})
        flat |= {f"{role}/{k}": compared[k] for k in (*RETAINED, "agreement") if compared.get(k) is not None}
    return flat


def member_metrics(metrics: Metrics) -> dict[str, float]:
    """The members of an ensemble of teachers."""
    scores = metrics["teacher"].get("members", {})
    flat = {f"teacher/members/{k}": v for k, v in scores.items() if isinstance(v, float)}
    held_out = scores.get("held_out", {})
    return flat | {f"teacher/members/held_out_{k}": held_out[k] for k in ("mean", "std") if k in held_out}


def export_metrics(metrics: Metrics, timings: Timings) -> dict[str, float]:
    """How much faster and smaller than the teacher the exported files are."""
    flat: dict[str, float] = {}
    for role in (r for r in EXPORTED if comparison(r, "student") in metrics["compare"]):
        flat[f"{role}/speedup"] = timings["teacher"]["latency_ms_p50"] / timings[role]["latency_ms_p50"]
        flat[f"{role}/shrinkage"] = metrics["teacher"]["size_mb"] / metrics[role]["size_mb"]
    return flat
