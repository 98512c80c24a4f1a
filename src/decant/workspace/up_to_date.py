"""Whether the result in data/ is that of the files as they are: known in a moment, without DVC.

After a result came into the project, a digest of inputs and outputs is remembered: contents of what git knows, sizes
and times of the rest.
"""

from pathlib import Path

from decant.core.files import write_atomically
from decant.workspace.snapshot import RAW, RECORDS, Snapshot, digest, file_states, take_snapshot

FILE = Path(".state/result")
REPORT = Path("data/evaluate/report.md")


def remember(root: Path, snapshot: Snapshot) -> None:
    """Record that outputs and records are the result of the inputs in `snapshot`."""
    write_atomically(root / FILE, _digest(root, snapshot).encode())


def is_up_to_date(root: Path) -> bool:
    """Whether there is a report, and neither inputs nor outputs changed since `remember`."""
    if not (root / FILE).exists() or not (root / REPORT).exists():
        return False
    return (root / FILE).read_text() == _digest(root, take_snapshot(root))


def show(root: Path) -> bool:
    """Print the result if it is up to date; whether it is."""
    if not is_up_to_date(root):
        return False
    print(table(root), f"Nothing changed since this result. Report: {REPORT}. All runs: make ui", sep="\n")
    return True


def table(root: Path) -> str:
    """The table of the report."""
    lines = (root / REPORT).read_text().splitlines()
    return "\n".join(line for line in lines[: lines.index("## Differences")] if line.startswith("|"))


def _digest(root: Path, snapshot: Snapshot) -> str:
    records = [(root / name).read_bytes() for name in RECORDS if (root / name).exists()]
    outputs = [f for f in sorted((root / "data").glob("*/**/*")) if root / RAW not in f.parents]
    return digest((snapshot.inputs, snapshot.raw, records, file_states(outputs)))
