"""Quality and cost on real text sets, written to benchmarks/text.md.

DECANT_DATA=<folder> python benchmarks/text.py [set ...]     e.g. banking77; default: all of SETS

Each set runs the five stages in a workspace of its own under .state/benchmarks/ and adds its table.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from decant import provenance, report, run, tracking

ROOT = Path(__file__).parents[1]
SETS = {
    "banking77": [
        "prepare.validation=0.1",
        *("fine_tune.epochs=4", "fine_tune.control_epochs=15", "fine_tune.max_length=64"),
        *("distill.epochs=3", "distill.control_epochs=3", "distill.lr=3.0e-4", "distill.max_length=64"),
    ],
    "newsgroups_local": [
        "prepare.validation=0.1",
        *("fine_tune.epochs=3", "fine_tune.control_epochs=8", "fine_tune.max_length=192"),
        *("distill.epochs=3", "distill.control_epochs=3", "distill.max_length=192"),
    ],
}
"""What differs from params.yaml."""


def main(names: list[str]) -> None:
    """Run each set and write its section."""
    for name in names or list(SETS):
        folder = workspace(name)
        seconds = {stage: execute(stage, name, folder) for stage in tracking.STAGES}
        write(name, section(name, folder, seconds))


def write(name: str, text: str) -> None:
    """Put the section of one set into benchmarks/text.md, in the place of its last one."""
    file = ROOT / "benchmarks/text.md"
    head, *sections = file.read_text().split("\n## ")
    kept = {s.partition("\n")[0]: s.strip("\n") for s in sections} | {name: text}
    file.write_text(head.strip("\n") + "\n" + "".join(f"\n## {kept[n]}\n" for n in sorted(kept)))


def workspace(name: str) -> Path:
    """A folder with this checkout's conf/ and params.yaml."""
    folder = ROOT / ".state/benchmarks" / name
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("conf", "params.yaml"):
        if not (folder / part).exists():
            (folder / part).symlink_to(ROOT / part)
    return folder


def execute(stage: str, name: str, folder: Path) -> float:
    """Run a stage; its seconds."""
    start = time.perf_counter()
    words = [sys.executable, "-m", f"decant.{stage}", f"use.data={name}", *SETS[name]]
    subprocess.run(words, cwd=folder, env={**os.environ, "DECANT_INVOCATION": name + str(os.getpid())}, check=True)
    return time.perf_counter() - start


def section(name: str, folder: Path, seconds: dict[str, float]) -> str:
    """The table of one set, with how it was made."""
    metrics, timings = report.read(folder / report.OUT)
    sizes = {s: c["rows"] for s, c in run.read_json(folder / "data/prepare/card.json")["splits"].items()}
    packages = provenance.versions("torch", "transformers", "pytorch-lightning")
    lines = [
        name,
        "",
        f"Rows: {', '.join(f'{s} {n:,}' for s, n in sizes.items())}. Seed 0, one run.",
        f"{provenance.processor()}; {packages}.",
        f"Overrides: `{' '.join(SETS[name])}`.",
        f"Seconds: {', '.join(f'{s} {t:.0f}' for s, t in seconds.items())}.",
        "",
        *report.pipes(report.COLUMNS, report.rows(metrics, timings)),
        "",
        "Differences of accuracy with paired bootstrap intervals over the test rows:",
        "",
        *(f"- {line}" for line in report.sentences(metrics)),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
