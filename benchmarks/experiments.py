"""Quality and cost of whole experiments, written to benchmarks/experiments.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/experiments.py name ... [key=value ...]

`name` is a file of conf/experiment/; values change it. Each runs the five stages in a workspace of its own under
.state/benchmarks/ and adds its table.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import sections

from decant.config import compose
from decant.core import resume
from decant.core.files import read_json
from decant.evaluation import report
from decant.evaluation.summary import sentences


def main(words: list[str]) -> None:
    """Run each experiment and write its section."""
    names, values = sections.split(words)
    for name in names:
        title = sections.title(name, values)
        folder = sections.workspace(title)
        seconds = {stage: execute(stage, name, values, folder) for stage in resume.READS}
        sections.write("experiments.md", title, section(name, values, folder, seconds))


def execute(stage: str, name: str, values: list[str], folder: Path) -> float:
    """Run a stage; its seconds."""
    start = time.perf_counter()
    words = [sys.executable, "-m", f"decant.{stage}", *compose.experiment(name, sections.ROOT), *values]
    subprocess.run(words, cwd=folder, env={**os.environ, "DECANT_INVOCATION": name + str(os.getpid())}, check=True)
    return time.perf_counter() - start


def section(name: str, values: list[str], folder: Path, seconds: dict[str, float]) -> str:
    """The table of one experiment, with how it was made."""
    metrics, timings = report.read(folder / report.OUT)
    seed = compose.load([*compose.experiment(name, sections.ROOT), *values], sections.ROOT).seed
    sizes = {s: c["rows"] for s, c in read_json(folder / "data/prepare/card.json")["splits"].items()}
    lines = [
        f"Rows: {', '.join(f'{s} {n:,}' for s, n in sizes.items())}. Seed {seed}, one run: "
        f"conf/experiment/{name}.yaml.",
        sections.machine(values),
        f"Seconds: {', '.join(f'{s} {t:.0f}' for s, t in seconds.items())}.",
        "",
        report.markdown_table(report.columns(metrics), report.rows(metrics, timings)),
        "",
        "Differences with paired bootstrap intervals over the test rows:",
        "",
        *(f"- {line}" for line in sentences(metrics)),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
