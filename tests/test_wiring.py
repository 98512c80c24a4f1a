"""dvc.yaml tells the truth: what a stage imports and reads is what it lists."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
USE = yaml.safe_load((ROOT / "params.yaml").read_text())["use"]


def file_of(module: str) -> Path:
    path = ROOT / "src" / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names)


def closure(path: Path, seen: set[Path]) -> set[Path]:
    if path.exists() and path not in seen:
        seen.add(path)
        for module in imported(path):
            if module.partition(".")[0] == "decant":
                closure(file_of(module), seen)
    return seen


def deps(stage: str) -> list[Path]:
    listed = STAGES[stage]["deps"]
    for role, name in USE.items():
        listed = [d.replace(f"${{use.{role}}}", name) for d in listed]
    return [ROOT / d for d in listed]


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_a_stage_imports_is_among_its_deps(stage: str) -> None:
    file = ROOT / "src/decant" / f"{stage.replace('-', '_')}.py"
    listed = deps(stage)
    lacking = {f for f in closure(file, set()) if not any(f == d or d in f.parents for d in listed)}
    assert not {str(f.relative_to(ROOT)) for f in lacking}


@pytest.mark.parametrize("stage", STAGES)
def test_every_code_dep_is_there_and_is_used(stage: str) -> None:
    file = ROOT / "src/decant" / f"{stage.replace('-', '_')}.py"
    used = closure(file, set())
    for dep in (d for d in deps(stage) if "src" in d.parts):
        assert dep.exists()
        pieces = {"loss", "task", "data", "backbone"} & set(dep.relative_to(ROOT).parts)
        # pieces are built by name; serve.py is copied into the logged model
        assert pieces or dep.name == "serve.py" or dep in used, dep


def test_the_trainer_is_never_a_dependency() -> None:
    assert "trainer" not in (ROOT / "dvc.yaml").read_text()


def test_no_path_of_a_machine_is_in_the_repository() -> None:
    for file in [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "src").rglob("*.py"), ROOT / "Makefile"]:
        text = file.read_text()
        assert "/work/" not in text
        assert "/home/" not in text
