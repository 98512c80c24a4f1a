"""Rows per second and peak memory of `decant predict` on many short texts, written to benchmarks/predict.md.

python benchmarks/predict.py "MiniLM of 2 layers, int8" data/distill [--model-format onnx]

The texts are the first words of the shipped messages, repeated; the time includes the start of the process.
"""

import csv
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import sections

from decant.core.environment import hardware, versions
from decant.core.errors import UserError
from decant.evaluation.report import markdown_table

COLUMNS = ("rows", "seconds", "rows/s", "peak memory MB")
SIZES = (1_000, 10_000, 100_000)
WORDS = 8
"""Words of a text, at most."""


def main(arguments: list[str]) -> None:
    """Write the section of a model directory."""
    if len(arguments) < 2:
        raise UserError("expected a title and a model directory, and after them options of decant predict")
    name, model, *options = arguments
    texts = shipped_texts()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(texts, size, Path(folder), ["--model", model, *options]) for size in SIZES]
    words = sum(len(text.split()) for text in texts) / len(texts)
    lines = [
        f"Texts of {words:.1f} words on average, one run, on {len(os.sched_getaffinity(0))} CPU(s).",
        f"{hardware()}; {versions('onnxruntime', 'tokenizers')}.",
        "",
        markdown_table(COLUMNS, rows),
    ]
    sections.write("predict.md", name, lines)


def shipped_texts() -> list[str]:
    """The first words of the messages that the project ships."""
    with (sections.ROOT / "data/raw/support/train.csv").open(encoding="utf-8", newline="") as file:
        return [" ".join(row["text"].split()[:WORDS]) for row in csv.DictReader(file)]


def measure(texts: Sequence[str], size: int, folder: Path, options: Sequence[str]) -> list[str]:
    """Predict `size` rows; the cells under COLUMNS.

    Raises:
        UserError: decant predict failed.
    """
    file = folder / f"{size}.txt"
    file.write_text("\n".join(itertools.islice(itertools.cycle(texts), size)) + "\n", "utf-8")
    command = [sys.executable, "-m", "decant.cli", "predict", str(file), "--output", f"{file}.jsonl", *options]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    peak = peak_memory(process)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise UserError(f"decant predict {' '.join(options)} failed on {size:,} rows; see above")
    return [f"{size:,}", f"{seconds:.1f}", f"{size / seconds:,.0f}", f"{peak:.0f}"]


def peak_memory(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; the largest resident memory that it had, in MB.

    Not ru_maxrss: it would start with the memory of this process, which forked the other one.
    """
    peak = 0
    while process.poll() is None:
        match = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        peak = max(peak, int(match[1])) if match else peak
        time.sleep(0.02)
    return peak / 1024


if __name__ == "__main__":
    sections.run(main, __doc__)
