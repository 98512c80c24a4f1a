"""A stand-in for a stage: writes to each output a digest of the inputs that decide it, in milliseconds.

python stub_stage.py <stage>. Code has no part in a digest: as with a comment in a real stage, a change in code makes
the stage run and leaves its output as it was.
"""

import hashlib
import json
import sys
from pathlib import Path

import yaml

PARAMS = yaml.safe_load(Path("params.yaml").read_text())
USE = PARAMS["use"]


def component(kind: str, role: str) -> object:
    """The values of the chosen yaml in a role."""
    return yaml.safe_load(Path(f"conf/{kind}/{USE[role]}.yaml").read_text())


def tree(folder: str) -> list[tuple[str, str]]:
    """Names and contents of the files in a folder."""
    files = sorted(f for f in Path(folder).rglob("*") if f.is_file())
    return [(str(f), hashlib.md5(f.read_bytes()).hexdigest()) for f in files]


def write(path: str, *inputs: object) -> None:
    """Write a digest of the inputs to a file, or to a file in a folder."""
    target = Path(path) if Path(path).suffix else Path(path) / "digest.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(hashlib.md5(json.dumps(inputs, sort_keys=True).encode()).hexdigest())


def prepare() -> None:
    """data/prepare/ depends on the data and the task; its source/ on the source data, if pretraining needs it."""
    values = PARAMS["seed"], PARAMS["prepare"], component("task", "task"), tree("data/raw")
    write("data/prepare", values, component("data", "data"))
    write("data/prepare/source", *([values, component("data", "source")] if USE["pretrain"] != "none" else []))


def pretrain_load() -> None:
    """A model directory for each role; only the teacher is pretrained."""
    pretrained = []
    if USE["pretrain"] != "none":
        values = PARAMS["seed"], PARAMS["pretrain_load"], component("augment", "augment")
        pretrained = [*values, component("pretrain", "pretrain"), tree("data/prepare/source")]
    for role in ("teacher", "student", "scratch"):
        extra = pretrained if role == "teacher" else []
        write(f"data/pretrain_load/{role}", component("backbone", role), *extra)


def fine_tune() -> None:
    """The teacher and its control."""
    parts = [component(kind, kind) for kind in ("adapt", "augment", "task")]
    inputs = [tree(f"data/{name}") for name in ("prepare", "pretrain_load/teacher", "pretrain_load/scratch")]
    write("data/fine_tune", PARAMS["seed"], PARAMS["fine_tune"], parts, inputs)


def distill() -> None:
    """The student and its control."""
    parts = [component(kind, kind) for kind in ("augment", "loss", "task")]
    inputs = [tree(f"data/{name}") for name in ("prepare", "fine_tune", "pretrain_load")]
    write("data/distill", PARAMS["seed"], PARAMS["distill"], PARAMS["export"], parts, inputs)


def evaluate() -> None:
    """The metrics of all models."""
    values = PARAMS["seed"], PARAMS["evaluate"], component("task", "task")
    inputs = [tree(f"data/{name}") for name in ("prepare", "fine_tune", "distill")]
    for output in ("metrics.json", "plots", "rows.parquet"):
        write(f"data/evaluate/{output}", values, inputs)
    Path("data/evaluate/report.md").write_text("# Test results\n\n| model |\n\n## Differences\n")


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")]()
