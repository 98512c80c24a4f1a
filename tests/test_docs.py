"""What the pages for people say about the tree is true: links, paths, packages, tests, examples."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.paths import ROOT

PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", CONTRIBUTING, re.DOTALL))
"""{path: content} of the files that CONTRIBUTING adds."""


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_in_the_tree_exists(page: Path) -> None:
    for path in re.findall(r"`((?:src/decant|tests|conf|benchmarks|docs)/[\w/.]+)`", page.read_text()):
        assert (ROOT / path).exists() or path in EXAMPLES, path


def test_every_module_that_architecture_names_exists() -> None:
    for path in re.findall(r"`(\w+/\w+\.py)`", (ROOT / "docs/architecture.md").read_text()):
        assert (ROOT / "src/decant" / path).exists(), path


@pytest.mark.slow
def test_every_promise_of_safety_has_its_test() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)[1:]
    assert len(rows) > 10
    modules = [ast.parse(file.read_text()) for file in (ROOT / "tests").rglob("test_*.py")]
    tests = {node.name for module in modules for node in module.body if isinstance(node, ast.FunctionDef)}
    for promise, named in rows:
        names = set(re.findall(r"`(test_\w+)`", named))
        assert names, promise
        assert names <= tests, (promise, names - tests)


def test_the_map_names_every_package() -> None:
    named = set(re.findall(r"`(\w+)/`", CONTRIBUTING.partition("## Map")[2].partition("## Add")[0]))
    assert {file.parent.name for file in (ROOT / "src/decant").glob("*/__init__.py")} <= named


def test_the_layers_are_those_that_lint_checks() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [layer.split(" | ") for layer in next(c["layers"] for c in contracts if c["type"] == "layers")]
    page = (ROOT / "docs/architecture.md").read_text()
    shown = re.findall(r"```\n(cli .*?)\n```", page, re.DOTALL)[0].splitlines()
    assert [line.split() for line in shown] == layers
    names = [" | ".join(layer) for layer in layers]
    names[2] = "stages"
    assert " > ".join(names) in " ".join(CONTRIBUTING.split())


@pytest.mark.slow
def test_the_examples_of_contributing_are_complete(tmp_path: Path) -> None:
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for path, content in EXAMPLES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    words = ["use.data=mine", "use.task=focal", "use.loss=huber", "use.teacher=bert"]
    command = [sys.executable, "-m", "decant.cli", "config", *words]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
