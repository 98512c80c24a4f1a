"""`decant predict` on many short texts: rows a second and peak memory, in benchmarks/predict.md.

python benchmarks/predict.py "MiniLM of 2 layers, int8" data/distill [--model-format onnx]

The texts are the beginnings of the shipped messages, over and over; the rates include the start of the process.
"""

import csv
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sections

from decant.core.environment import hardware, versions
from decant.evaluation.report import markdown_table

COLUMNS = ("rows", "seconds", "rows/s", "peak memory MB")
SIZES = (1_000, 10_000, 100_000)
WORDS = 8


def main(name: str, model: str, *options: str) -> None:
    """Write the section of a model directory."""
    with tempfile.TemporaryDirectory() as place:
        rows = [measured(messages(Path(place, f"{n}.txt"), n), n, ["--model", model, *options]) for n in SIZES]
    words = sum(len(text.split()) for text in shipped()) / len(shipped())
    lines = [
        f"Texts of {words:.1f} words on average, one run, on {len(os.sched_getaffinity(0))} CPU(s).",
        f"{hardware()}; {versions('onnxruntime', 'tokenizers')}.",
        "",
        markdown_table(COLUMNS, rows),
    ]
    sections.write("predict.md", name, "\n".join(lines))


def shipped() -> list[str]:
    """The first words of the messages that the project ships."""
    with (sections.ROOT / "data/raw/support/train.csv").open(encoding="utf-8", newline="") as file:
        return [" ".join(row["text"].split()[:WORDS]) for row in csv.DictReader(file)]


def messages(file: Path, count: int) -> Path:
    """A file of `count` lines."""
    texts = itertools.islice(itertools.cycle(shipped()), count)
    file.write_text("\n".join(texts) + "\n", "utf-8")
    return file


def measured(file: Path, count: int, options: list[str]) -> list[str]:
    """A row of the table."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "decant.cli", "predict", str(file), "--output", f"{file}.jsonl", *options]
    peak, status = watched(subprocess.Popen(command))
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"decant predict {' '.join(options)} failed on {count:,} rows")
    return [f"{count:,}", f"{seconds:.1f}", f"{count / seconds:,.0f}", f"{peak:.0f}"]


def watched(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """The largest resident memory of a process in MB, and its exit code."""
    peak = 0
    while process.poll() is None:  # ru_maxrss would begin with the memory of this process, which forked it
        found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        peak = max(peak, int(found[1])) if found else peak
        time.sleep(0.02)
    return peak / 1024, process.returncode


if __name__ == "__main__":
    main(*sys.argv[1:])
