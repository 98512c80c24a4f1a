"""`decant predict` on many short texts: rows a second and peak memory, in benchmarks/predict.md.

python benchmarks/predict.py "MiniLM of 2 layers, int8" data/distill [--variant onnx]

The texts are the shipped messages, over and over; the rates include the start of the process.
"""

import csv
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sections

from decant import provenance
from decant.report import pipes

COLUMNS = ("rows", "seconds", "rows/s", "peak memory MB")
SIZES = (1_000, 10_000, 100_000)


def main(name: str, model: str, *options: str) -> None:
    """Write the section of a model directory."""
    with tempfile.TemporaryDirectory() as place:
        rows = [measured(messages(Path(place, f"{n}.txt"), n), n, ["--model", model, *options]) for n in SIZES]
    words = sum(len(text.split()) for text in shipped()) / len(shipped())
    lines = [
        f"Messages of {words:.1f} words on average, one run; CPUs this process may use: {len(os.sched_getaffinity(0))}.",
        f"{provenance.hardware()}; {provenance.versions('onnxruntime', 'tokenizers')}.",
        "",
        *pipes(COLUMNS, rows),
    ]
    sections.write("predict.md", name, "\n".join(lines))


def shipped() -> list[str]:
    """The messages that the project ships."""
    with (sections.ROOT / "data/raw/support/train.csv").open(encoding="utf-8", newline="") as file:
        return [" ".join(row["text"].split()) for row in csv.DictReader(file)]


def messages(file: Path, count: int) -> Path:
    """A file of `count` lines."""
    texts = itertools.islice(itertools.cycle(shipped()), count)
    file.write_text("\n".join(texts) + "\n", "utf-8")
    return file


def measured(file: Path, count: int, options: list[str]) -> list[str]:
    """A row of the table."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "decant.cli", "predict", str(file), "--output", f"{file}.jsonl", *options]
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)  # of this process alone, not the largest of all
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"decant predict {' '.join(options)} failed on {count:,} rows")
    return [f"{count:,}", f"{seconds:.1f}", f"{count / seconds:,.0f}", f"{used.ru_maxrss / 1024:.0f}"]


if __name__ == "__main__":
    main(*sys.argv[1:])
