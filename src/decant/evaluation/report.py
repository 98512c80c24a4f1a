"""The result as a person reads it: a table on the terminal, Markdown with pictures, and figures for MLflow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from decant.core.files import read_json, write_json
from decant.evaluation import row_scores
from decant.evaluation.bootstrap import PAIRS
from decant.tracking.runs import Run

OUT = Path("data/evaluate")
TITLES = {
    "floor": "linear floor",
    "scratch": "from scratch (no transfer)",
    "teacher": "teacher",
    "alone": "student alone (no teacher)",
    "student": "student",
    "onnx": "student, ONNX",
    "int8": "student, ONNX int8",
}
TIMED = ("latency.json", "latency.png", "report.md")
"""What differs from run to run, and so is none of DVC's outputs."""
NO_GAP = {
    "none": "gap to close: none, the teacher is not better than the student alone",
    "cannot tell": "gap to close: cannot tell whether the teacher is better than the student alone",
}
SLOWER = 1.1
"""Times the median of fp32, from which on it is no noise of the measurement."""
RETAINED = ("retained", "retained_low", "retained_high")
COSTS = ("parameters", "MB", "ms p50", "ms p95", "inputs/s")


def read(folder: Path = OUT) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and timings that `evaluate` wrote."""
    return read_json(folder / "metrics.json"), read_json(folder / "latency.json")


def titles(metrics: dict[str, Any]) -> dict[str, str]:
    """How a reader knows the models that were scored."""
    named = TITLES | {"floor": f"{TITLES['floor']} ({metrics['figures']['floor']})"}
    return {role: title for role, title in named.items() if role in metrics}


def columns(metrics: dict[str, Any]) -> list[str]:
    """The heads of the table."""
    return ["model", *(title for _, title in metrics["figures"]["columns"]), *COSTS]


def rows(metrics: dict[str, Any], timings: dict[str, Any]) -> list[list[str]]:
    """One row of `columns` per model."""
    return [
        [
            title,
            *(f"{100 * metrics[role][k]:.1f}{around(metrics, role, k)}" for k, _ in metrics["figures"]["columns"]),
            f"{metrics[role]['parameters']:,}",
            f"{metrics[role]['size_mb']:.1f}",
            *(f"{timings[role][k]:.1f}" for k in ("latency_ms_p50", "latency_ms_p95")),
            f"{timings[role]['throughput']:,.0f}",
        ]
        for role, title in titles(metrics).items()
    ]


def around(metrics: dict[str, Any], role: str, figure: str) -> str:
    """The interval of the headline figure; empty for the others."""
    if figure != metrics["figures"]["headline"]:
        return ""
    return " [{:.1f}, {:.1f}]".format(*(100 * metrics[role]["interval"][k] for k in ("low", "high")))


def sentences(metrics: dict[str, Any]) -> list[str]:
    """Each comparison in words: difference, interval, verdict."""
    agreeing = metrics["figures"]["agreeing"]
    lines = []
    for pair in PAIRS:
        if (c := metrics["compare"].get("_".join(pair))) is None:
            continue
        first, second = (titles(metrics)[role] for role in pair)
        verdict = "better" if c["low"] > 0 else "worse" if c["high"] < 0 else "cannot tell"
        alike = agreeing.format(f"{100 * c['agreement']:.1f}")
        lines.append(
            f"{first} against {second}: {100 * c['difference']:+.1f} points "
            f"[{100 * c['low']:+.1f}, {100 * c['high']:+.1f}], {verdict} at {100 * c['confidence']:g} %; "
            f"retains {kept(c)} %, {alike}"
        )
    return lines + gaps(metrics) + files(metrics)


def kept(found: dict[str, Any]) -> str:
    """The share retained, with its interval."""
    share, *ends = ("-" if found[k] is None else f"{100 * found[k]:.1f}" for k in RETAINED)
    return f"{share} [{', '.join(ends)}]"


def gaps(metrics: dict[str, Any]) -> list[str]:
    """How much of what the teacher is better than the student alone each student makes up for."""
    lines = []
    for role in (r for r in titles(metrics) if r in metrics.get("gap", {})):
        found = metrics["gap"][role]
        if found["closed"] is None:
            lines.append(NO_GAP[found["gap"]])
            break
        low, high = ("without bound" if found[k] is None else f"{100 * found[k]:.0f}" for k in ("low", "high"))
        lines.append(
            f"{titles(metrics)[role]} closes {100 * found['closed']:.0f} % [{low}, {high}] of the gap to the teacher"
        )
    return lines


def files(metrics: dict[str, Any]) -> list[str]:
    """How far the exported files are from the network that they were made of."""
    found = {role: metrics[role] for role in ("onnx", "int8") if role in metrics}
    return [
        f"{TITLES[role]}: largest difference of a logit on test {figures['largest_difference']:.2g}, "
        f"{metrics['teacher']['size_mb'] / figures['size_mb']:.1f}x smaller than the teacher"
        for role, figures in found.items()
    ]


def members(metrics: dict[str, Any]) -> list[str]:
    """The teachers of an ensemble in words, where there were several."""
    if not (found := metrics["teacher"].get("members")):
        return []
    head = dict(metrics["figures"]["columns"])[metrics["figures"]["headline"]]
    line = f"teacher, {len(found['each'])} models: each alone {spread(found)} on test"
    if held := found.get("held_out"):
        line += f", {spread(held)} on the part of train it did not see; out-of-fold over all of train "
        line += f"{100 * found['out_of_fold']:.1f}"
    return [f"{line} (mean ± standard deviation of {head})"]


def spread(figures: dict[str, Any]) -> str:
    """Mean and standard deviation."""
    return f"{100 * figures['mean']:.1f} ± {100 * figures['std']:.1f}"


def speed(metrics: dict[str, Any], timings: dict[str, Any]) -> list[str]:
    """How fast the exported files are beside teacher and student; in the same run, taking turns."""
    p50 = {role: timings[role]["latency_ms_p50"] for role in timings}
    lines = []
    for role in (r for r in ("onnx", "int8") if r in p50):
        line = f"{TITLES[role]}: {p50['teacher'] / p50[role]:.1f}x as fast as the teacher"
        lines.append(f"{line}, {p50['student'] / p50[role]:.1f}x as the student in PyTorch (p50, one input)")
    if "int8" in p50 and p50["int8"] > SLOWER * p50["onnx"]:
        lines.append("int8 is slower than fp32 on this machine: set export.int8 to false, unless size is what counts")
    return lines


def table(metrics: dict[str, Any], timings: dict[str, Any]) -> None:
    """Print the result."""
    console = terminal()
    heads, lines = columns(metrics), rows(metrics, timings)
    whole = grid("Test results", heads, lines)
    if console.measure(whole).maximum <= console.width:
        console.print(whole)
    else:  # what an answer is worth, and what it costs
        cut = len(heads) - len(COSTS)
        console.print(grid("Test results", heads[:cut], [line[:cut] for line in lines]))
        console.print(grid("Costs", [heads[0], *COSTS], [[line[0], *line[cut:]] for line in lines]))
    for line in members(metrics) + speed(metrics, timings) + sentences(metrics):
        console.print(line, highlight=False, soft_wrap=True)
    console.print("Report: data/evaluate/report.md. All runs: make ui", highlight=False)


def terminal() -> Console:
    """The terminal, or a page of 140 columns."""
    return Console(width=None if Console().is_terminal else 140)


def grid(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """A table for the terminal; all but the first column are figures."""
    found = Table(title=Text(title))
    for i, head in enumerate(heads):
        found.add_column(head, justify="right" if i else "left")
    for line in lines:
        found.add_row(*line)
    return found


def pipes(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)]


def write(metrics: dict[str, Any], timings: dict[str, Any], labels: list[str]) -> None:
    """metrics.json, and beside it what differs from run to run: latency.json and report.md."""
    write_json(OUT / "metrics.json", metrics)
    write_json(OUT / "latency.json", timings)
    (OUT / "report.md").write_text(markdown(metrics, timings, labels), "utf-8")


def markdown(metrics: dict[str, Any], timings: dict[str, Any], labels: list[str]) -> str:
    """The report."""
    lines = ["# Test results", "", *pipes(columns(metrics), rows(metrics, timings))]
    lines += ["", "Latency and throughput: raw input to answer on the CPU, batch 1 and batch 32; PyTorch in fp32.", ""]
    lines += [f"{line[0].upper()}{line[1:]}.\n" for line in speed(metrics, timings)]
    lines += [f"{line[0].upper()}{line[1:]}.\n" for line in members(metrics)]
    lines += ["## Differences", "", "With paired bootstrap intervals over the test rows.", ""]
    lines += [f"- {line}" for line in sentences(metrics)]
    lines += ["", "![the headline figure of each model](plots/headline.png)", ""]
    lines += ["![against the time of an answer](latency.png)", "", "![against the size](plots/size.png)", ""]
    if "per_class" in metrics["student"]:
        each = per_class(metrics, labels).round(3)
        lines += ["## Classes", "", *pipes(list(each.columns), each.astype(str).to_numpy().tolist()), ""]
    lines += [f"![{plot.stem} of the student](plots/{plot.name})\n"
              for plot in sorted((OUT / "plots").glob("*.png")) if plot.stem not in ("headline", "size")]  # fmt: skip
    return "\n".join(lines)


def log(target: Run, metrics: dict[str, Any], timings: dict[str, Any]) -> None:
    """Log the headline and the files of `OUT` to a run."""
    target.log_metrics(headline(metrics, timings))
    for name in ("metrics.json", row_scores.FILE, *TIMED):
        target.log_artifact(OUT / name)
    target.log_artifact(OUT / "plots", "plots")


def headline(metrics: dict[str, Any], timings: dict[str, Any]) -> dict[str, float]:
    """What the runs table and the compare view of MLflow show: `student/accuracy`, `student/retained`, ..."""
    flat = {f"{r}/{k}": v for r in titles(metrics) for k, v in metrics[r].items() if not isinstance(v, dict)}
    flat |= {f"{role}/{k}": v for role, times in timings.items() for k, v in times.items()}
    for role in (r for r in ("student", "onnx", "int8") if f"{r}_teacher" in metrics["compare"]):
        against = metrics["compare"][f"{role}_teacher"]
        flat |= {f"{role}/{k}": against[k] for k in (*RETAINED, "agreement") if against[k] is not None}
    if found := metrics["teacher"].get("members"):
        flat |= {f"teacher/members/{k}": v for k, v in found.items() if isinstance(v, float)}
        flat |= {f"teacher/members/held_out_{k}": found["held_out"][k] for k in ("mean", "std") if "held_out" in found}
    for role, found in metrics.get("gap", {}).items():
        flat |= {f"{role}/gap_{k}": v for k, v in found.items() if isinstance(v, float)}
    for role in ("onnx", "int8"):
        if f"{role}_student" in metrics["compare"]:
            flat[f"{role}/speedup"] = timings["teacher"]["latency_ms_p50"] / timings[role]["latency_ms_p50"]
            flat[f"{role}/shrinkage"] = metrics["teacher"]["size_mb"] / metrics[role]["size_mb"]
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
