"""What the benchmarks share: a workspace beside this checkout, and pages that are rewritten section by section."""

from pathlib import Path

from decant.core.environment import hardware, versions

ROOT = Path(__file__).parents[1]


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Names and overrides of the configuration, from the words of a command line."""
    return [w for w in words if "=" not in w], [w for w in words if "=" in w]


def place(name: str) -> Path:
    """Where the workspace of that name is, or will be."""
    return ROOT / ".state/benchmarks" / name.replace(" ", "_")


def workspace(name: str) -> Path:
    """A folder under .state/benchmarks/ with this checkout's conf/, params.yaml and what is in data/raw/."""
    folder = place(name)
    (folder / "data/raw").mkdir(parents=True, exist_ok=True)
    for part in ("conf", "params.yaml", *(f"data/raw/{f.name}" for f in (ROOT / "data/raw").iterdir())):
        if not (folder / part).exists():
            (folder / part).symlink_to(ROOT / part)
    return folder


def write(page: str, name: str, text: str) -> None:
    """Put a section into benchmarks/<page>, in the place of its last version; sections are sorted by name."""
    file = ROOT / "benchmarks" / page
    head, *sections = file.read_text().split("\n## ")
    kept = {s.partition("\n")[0]: s.strip("\n") for s in sections} | {name: f"{name}\n\n{text}"}
    file.write_text(head.strip("\n") + "\n" + "".join(f"\n## {kept[n]}\n" for n in sorted(kept)))


def title(name: str, values: list[str]) -> str:
    """What a section is called: what it is about, not on what it ran."""
    return " ".join([name, *(v for v in values if not v.startswith("trainer"))])


def machine(values: list[str]) -> str:
    """Hardware, versions and what the command line changed, as every table says them."""
    changed = f" Changed: `{' '.join(values)}`." if values else ""
    return f"{hardware()}; {versions('torch', 'transformers', 'pytorch-lightning')}.{changed}"
