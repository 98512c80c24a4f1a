"""Students beside their teacher and beside themselves alone, over seeds, written to benchmarks/students.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/students.py name[+other ...] [seed=0 ...] [key=value ...]

Names are files of conf/experiment/. Those joined by + share their teacher: what differs begins with the student. Each
seed runs the whole pipeline in a workspace of its own under .state/benchmarks/; a seed that is there already is read.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import sections

from decant import config, report, run, tracking
from decant.report import pipes

SEEDS = (0, 1, 2, 3, 4)
SHARED = ("prepare", "fine_tune")
"""Stages whose output students share."""
COLUMNS = ("model", "parameters", "MB", "x smaller", "x faster", "retained %", "lowest end of its intervals")
Result = tuple[dict[str, Any], dict[str, Any]]


def main(words: list[str]) -> None:
    """Run what is missing and write a section for each name."""
    run.quiet()
    groups, values = sections.split(words)
    seeds = [int(v.removeprefix("seed=")) for v in values if v.startswith("seed=")] or list(SEEDS)
    values = [v for v in values if not v.startswith("seed=")]
    for group in groups:
        names = group.split("+")
        found: dict[str, list[Result]] = {name: [] for name in names}
        for seed in seeds:
            folder = sections.workspace(sections.title(f"students-{names[0]}-{seed}", values))
            for name in names:
                found[name].append(result(name, [*values, f"seed={seed}"], folder, name == names[0]))
        for name in names:
            text = section(name, values, seeds, found[name])
            sections.write("students.md", sections.title(name, values), text)


def result(name: str, values: list[str], folder: Path, first: bool) -> Result:
    """Metrics and timings of one seed, made or read; without a network of its own to teach unless `first`."""
    kept = folder / f"{name}.json"
    if not kept.exists():
        words = [*config.experiment(name, sections.ROOT), *values]
        for stage in tracking.STAGES:
            if first or stage not in SHARED:
                execute(stage, words, folder)
        run.write_json(kept, report.read(folder / report.OUT))
    metrics, timings = run.read_json(kept)
    return metrics, timings


def execute(stage: str, words: list[str], folder: Path) -> None:
    """Run a stage."""
    print(f"{folder.name}: {stage}", flush=True)
    env = {**os.environ, "DECANT_INVOCATION": f"{folder.name} {os.getpid()}"}
    subprocess.run([sys.executable, "-m", f"decant.{stage}", *words], cwd=folder, env=env, check=True)


def section(name: str, values: list[str], seeds: list[int], found: list[Result]) -> str:
    """The table of one experiment."""
    metrics = found[0][0]
    head = metrics["figures"]["headline"]
    title = dict(metrics["figures"]["columns"])[head]
    rows = [row(role, words, head, found) for role, words in report.titles(metrics).items()]
    closed = [m["gap"]["student"]["closed"] for m, _ in found if m.get("gap", {}).get("student", {}).get("closed")]
    lines = [
        f"conf/experiment/{name}.yaml, seeds {', '.join(map(str, seeds))}: each its own teacher, student and controls; "
        "mean and standard deviation over seeds.",
        sections.machine(values),
        "Smaller, faster: than the teacher in fp32 PyTorch; p50 of one input at a time, taking turns; median of seeds.",
        f"Retained: of the teacher of the same seed; the lowest of the lower ends of the seeds' paired "
        f"{metrics['figures']['confidence']:.0%} intervals.",
        f"Gap between student alone and teacher: {len(closed)} of {len(found)} seeds have one"
        + (f", of which the student closes {100 * statistics.mean(closed):.0f} % on average." if closed else "."),
        "",
        *pipes((COLUMNS[0], title, "each", *COLUMNS[1:]), rows),
    ]
    return "\n".join(lines)


def row(role: str, words: str, head: str, found: list[Result]) -> list[str]:
    """A model over the seeds."""
    scores = [100 * m[role][head] for m, _ in found]
    smaller = [m["teacher"]["size_mb"] / m[role]["size_mb"] for m, _ in found]
    faster = [t["teacher"]["latency_ms_p50"] / t[role]["latency_ms_p50"] for _, t in found]
    pairs = [m["compare"].get(f"{role}_teacher") for m, _ in found]
    kept = [100 * p["retained"] for p in pairs if p]
    return [
        words,
        around(scores),
        ", ".join(f"{s:.1f}" for s in scores),
        f"{found[0][0][role]['parameters']:,}",
        f"{statistics.median(m[role]['size_mb'] for m, _ in found):.2f}",
        f"{statistics.median(smaller):.1f}",
        f"{statistics.median(faster):.1f}",
        around(kept) if kept else "",
        f"{min(100 * p['retained_low'] for p in pairs if p):.1f}" if kept else "",
    ]


def around(values: list[float]) -> str:
    """Mean and standard deviation."""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


if __name__ == "__main__":
    main(sys.argv[1:])
