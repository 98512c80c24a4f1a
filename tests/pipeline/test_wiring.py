"""dvc.yaml tells the truth: what a stage imports and reads is what it lists."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

from decant.commands import verify
from decant.serving import packaging

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
USE = yaml.safe_load((ROOT / "params.yaml").read_text())["use"]


def file_of(module: str) -> Path:
    path = ROOT / "src" / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(path: Path, inside: bool) -> Iterator[str]:
    """Modules that a file imports; `inside`: its functions, too. What it does as a command is not imported."""
    tree = ast.parse(path.read_text())
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "__main__" in ast.unparse(n.test))]
    for node in ast.walk(tree) if inside else tree.body:
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names)


def closure(path: Path, seen: set[Path], called: str | None = None) -> set[Path]:
    """Every module of ours that a file imports, itself or through others.

    What a piece imports inside a function belongs to the stage that calls the function: it counts for pieces of
    the kind `called` alone.
    """
    if path.exists() and path not in seen:
        seen.add(path)
        for module in imported(path, inside=not piece(path) or path.parent.name == called):
            if module.partition(".")[0] == "decant":
                closure(file_of(module), seen, called)
    return seen


PIECES = {
    "prepare": ("task", "pretrain"),
    "pretrain-load": ("backbone", "pretrain", "augment"),
    "fine-tune": ("task", "adapt", "augment"),
    "distill": ("task", "loss", "augment"),
    "evaluate": ("task",),
}
"""The kinds of pieces that a stage builds by name; their imports are its own."""
KINDS = {p.name for p in (ROOT / "src/decant").iterdir() if p.is_dir()}
CALLED = {"pretrain-load": "pretrain", "evaluate": "task"}
"""The kind whose pieces a stage calls into for what others need not import."""


def deps(stage: str) -> list[Path]:
    listed = STAGES[stage]["deps"]
    for role, name in USE.items():
        listed = [d.replace(f"${{use.{role}}}", name) for d in listed]
    return [ROOT / d for d in listed]


def used(stage: str) -> set[Path]:
    """Every module of ours that a stage imports, itself or through any piece it may build."""
    seen: set[Path] = set()
    closure(ROOT / "src/decant" / f"{stage.replace('-', '_')}.py", seen, CALLED.get(stage))
    for kind in PIECES[stage]:
        for file in (ROOT / "src/decant" / kind).glob("*.py"):
            seen |= closure(file, set(), CALLED.get(stage))
    return seen


def piece(file: Path) -> bool:
    """Whether dvc.yaml names the file by its role: the chosen one is a dep, the others are not."""
    return file.parent.name in KINDS and file.name != "__init__.py"


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_a_stage_imports_is_among_its_deps(stage: str) -> None:
    listed = deps(stage)
    lacking = {f for f in used(stage) if not piece(f) and not any(f == d or d in f.parents for d in listed)}
    assert not {str(f.relative_to(ROOT)) for f in lacking}


@pytest.mark.parametrize("stage", STAGES)
def test_every_kind_of_piece_a_stage_builds_is_among_its_deps(stage: str) -> None:
    listed = {d.relative_to(ROOT).parts[2] for d in deps(stage) if "src" in d.parts}
    assert set(PIECES[stage]) <= listed


@pytest.mark.parametrize("stage", STAGES)
def test_every_code_dep_is_there_and_is_used(stage: str) -> None:
    for dep in (d for d in deps(stage) if "src" in d.parts):
        assert dep.exists()
        # some are copied into the logged model; data and modality are built by name
        shipped = [ROOT / "src/decant" / name for name in ("serving/pyfunc.py", *packaging.SHIPPED)]
        assert dep.is_dir() or piece(dep) or dep in shipped or dep in used(stage), dep


def test_the_trainer_is_never_a_dependency() -> None:
    assert "trainer" not in (ROOT / "dvc.yaml").read_text()


def test_no_path_of_a_machine_is_in_the_repository() -> None:
    for file in [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "src").rglob("*.py"), ROOT / "Makefile"]:
        text = file.read_text()
        assert "/work/" not in text
        assert "/home/" not in text


@pytest.mark.parametrize("stage", STAGES)
def test_roles_that_may_share_a_file_are_watched_by_name(stage: str) -> None:
    params = [next(iter(p)) if isinstance(p, dict) else p for p in STAGES[stage]["params"]]
    folders = [p.rpartition("/")[0] for p in params if "${use." in p]
    for param in params:
        if "${use." in param and folders.count(param.rpartition("/")[0]) > 1:
            role = param.partition("${")[2].partition("}")[0]
            # two roles with one file, and back: the set of files shrinks, and no file in it is new
            assert role in params, f"{stage} reads {param} and another of its folder, and does not watch {role}"


def test_the_committed_lock_is_of_this_code_and_these_values() -> None:
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    if changed.returncode or changed.stdout:
        pytest.skip("there is work here that is not committed")
    assert verify.outdated_dependencies(ROOT) == []
