"""Writes constraints.txt and constraints-cuda.txt: every package that `make setup` installs, with its hashes.

python .ci/lock.py [arguments of uv pip compile, as --upgrade]

One lock serves Linux and macOS, CPython 3.11 and newer. PyPI's torch for Linux needs the packages of CUDA, 3 GB; the
one built for CPUs, which constraints-cpu.txt pins, does not. So they have a file of their own.
"""

import re
import subprocess
import sys
from pathlib import Path

LOCK, CUDA_LOCK = Path("constraints.txt"), Path("constraints-cuda.txt")
HEADER = "# Written by make constraints.\n"
COMPILE = (
    *("uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--universal", "--python-version", "3.11"),
    *("--generate-hashes", "--no-annotate", "--no-header", "--quiet", "--default-index", "https://pypi.org/simple"),
)
CUDA = re.compile(r"(nvidia|cuda)-|triton==")


def main() -> None:
    """Pin what pyproject.toml asks for; versions that are pinned already stay without --upgrade."""
    compiled = LOCK.with_suffix(".new")
    pinned = re.findall(r"^[\w.-]+==\S+", LOCK.read_text() + CUDA_LOCK.read_text(), re.MULTILINE)
    compiled.write_text("\n".join(pinned))  # without hashes: uv would keep them
    subprocess.run([*COMPILE, *sys.argv[1:], "--output-file", str(compiled)], check=True)
    pins = re.split(r"^(?=\S)", compiled.read_text(), flags=re.MULTILINE)
    compiled.unlink()
    LOCK.write_text(HEADER + "".join(pin for pin in pins if not CUDA.match(pin)))
    CUDA_LOCK.write_text(HEADER + "".join(pin for pin in pins if CUDA.match(pin)))


if __name__ == "__main__":
    main()
