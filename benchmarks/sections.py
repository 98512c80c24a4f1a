"""What the benchmarks share: a workspace beside this checkout, and pages that are rewritten section by section."""

from pathlib import Path

from decant import provenance

ROOT = Path(__file__).parents[1]


def workspace(name: str) -> Path:
    """A folder under .state/benchmarks/ with this checkout's conf/, params.yaml and data/raw/."""
    folder = ROOT / ".state/benchmarks" / name
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for part in ("conf", "params.yaml", "data/raw"):
        if not (folder / part).exists():
            (folder / part).symlink_to(ROOT / part)
    return folder


def write(page: str, name: str, text: str) -> None:
    """Put a section into benchmarks/<page>, in the place of its last version; sections are sorted by name."""
    file = ROOT / "benchmarks" / page
    head, *sections = file.read_text().split("\n## ")
    kept = {s.partition("\n")[0]: s.strip("\n") for s in sections} | {name: f"{name}\n\n{text}"}
    file.write_text(head.strip("\n") + "\n" + "".join(f"\n## {kept[n]}\n" for n in sorted(kept)))


def machine() -> str:
    """Hardware and versions, as every table says them."""
    return f"{provenance.hardware()}; {provenance.versions('torch', 'transformers', 'pytorch-lightning')}."
