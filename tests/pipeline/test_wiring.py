"""dvc.yaml is right: a stage lists the packages that can change its result, and no others."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

from decant.commands import verify

PACKAGE = ROOT / "src/decant"
DVC = (ROOT / "dvc.yaml").read_text()
STAGES = yaml.safe_load(DVC)["stages"]
NEUTRAL = {
    "tracking": "sends to MLflow what a stage did",
    "commands": "what a person types",
    "config": "composes the values that dvc.yaml lists under params; tests/config shows that it adds none",
    "experiment": "builds the components of these values; their code is listed by its own packages",
    "core": "errors, processes, signals; the file formats in it are pinned by golden tests in tests/core",
}
"""Packages that cannot change a result, and why."""
BUILT = {
    "prepare": {"data", "pretrain", "task"},
    "pretrain-load": {"backbone", "pretrain", "augment", "task"},
    "fine-tune": {"adapt", "augment", "task"},
    "distill": {"augment", "loss", "task"},
    "evaluate": {"task"},
}
"""The components that a stage uses: the experiment builds them by name, so no import shows them."""
CALLS_INTO = {"pretrain-load": "pretrain"}
"""The component whose function-level imports a stage runs; the other stages build it and do not call it."""


def module_file(module: str) -> Path:
    path = ROOT / "src" / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def top_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Statements that run on import: no functions, no type checking, nothing that only the command does."""
    for node in tree.body:
        guarded = isinstance(node, ast.If) and (
            "TYPE_CHECKING" in ast.unparse(node.test) or "__main__" in ast.unparse(node.test)
        )
        if not guarded:
            yield node


def imported_modules(file: Path, in_functions: bool) -> Iterator[str]:
    """Modules of decant that a file imports; `in_functions`: also those that its functions import."""
    statements = list(top_level(ast.parse(file.read_text())))
    nodes = [n for s in statements for n in ast.walk(s)] if in_functions else statements
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "decant":
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package(file: Path) -> str:
    """The package that a file belongs to; the name of a stage file."""
    return file.relative_to(PACKAGE).parts[0]


def closure(file: Path, seen: set[Path], calls_into: str | None) -> set[Path]:
    """Every file of decant that a file imports, directly or through others, neutral packages left out."""
    if file.exists() and file not in seen and package(file) not in NEUTRAL:
        seen.add(file)
        for module in imported_modules(file, package(file) == calls_into):
            closure(module_file(module), seen, calls_into)
    return seen


def used_packages(stage: str) -> set[str]:
    """The packages with code that can change the result of a stage."""
    calls_into = CALLS_INTO.get(stage)
    files = closure(PACKAGE / f"{stage.replace('-', '_')}.py", set(), calls_into)
    for kind in BUILT[stage]:
        for component in sorted((PACKAGE / kind).rglob("*.py")):
            closure(component, files, calls_into)
    return {package(file) for file in files} - {"__init__.py"}


def listed_packages(stage: str) -> set[str]:
    deps = [Path(dep) for dep in STAGES[stage]["deps"]]
    return {dep.relative_to("src/decant").parts[0] for dep in deps if dep.is_relative_to("src/decant")}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_package_that_can_change_a_stage_is_among_its_deps(stage: str) -> None:
    assert used_packages(stage) - listed_packages(stage) == set()


@pytest.mark.parametrize("stage", STAGES)
def test_no_package_that_cannot_change_a_stage_is_among_its_deps(stage: str) -> None:
    assert listed_packages(stage) - used_packages(stage) == set()


def test_the_check_sees_an_import_that_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STAGES["fine-tune"], "deps", [d for d in STAGES["fine-tune"]["deps"] if "training" not in d])
    assert used_packages("fine-tune") - listed_packages("fine-tune") == {"training"}


@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_packages_are_no_dependency(name: str) -> None:
    assert f"src/decant/{name}" not in DVC


@pytest.mark.parametrize("stage", STAGES)
def test_every_dep_in_the_repository_exists(stage: str) -> None:
    deps = [ROOT / dep for dep in STAGES[stage]["deps"] if not dep.startswith("data/") or dep.startswith("data/raw")]
    assert [str(dep) for dep in deps if not dep.exists()] == []


def test_dvc_yaml_is_short() -> None:
    assert len(DVC.splitlines()) <= 120
    assert max(len(stage["deps"]) for stage in STAGES.values()) <= 12


def test_the_trainer_is_never_a_dependency() -> None:
    assert "trainer" not in DVC


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
        pytest.skip("there are uncommitted changes")
    assert verify.outdated_dependencies(ROOT) == []
