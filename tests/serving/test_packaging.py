"""What a logged model holds, file by file; tests/serving/test_pyfunc.py logs, loads and serves them."""

import ast
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from support.paths import ROOT

from decant.serving import packaging

DISTRIBUTIONS = {"PIL": "pillow"}
"""Of modules with another name."""
LOADED_LATER = {"torch", "transformers"}
"""By models without ONNX files alone."""


def imports(file: Path) -> set[str]:
    """The modules that a file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    parents = {
        (str(node.module), name.name) for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names
    }
    return plain | {f"{module}.{name}" if module == "decant.core" else module for module, name in parents}


def modules_of_a_server() -> dict[str, set[str]]:
    """The modules of decant that a served model imports, and what each imports."""
    modules, waiting = {}, ["decant.serving.pyfunc"]
    while waiting:
        module = waiting.pop()
        modules[module] = imports(ROOT / "src" / f"{module.replace('.', '/')}.py")
        waiting += [name for name in modules[module] if name.startswith("decant.") and name not in modules]
    return modules


def test_the_files_that_are_shipped_are_those_that_a_server_imports() -> None:
    shipped = {name for name in packaging.SHIPPED if not name.endswith("__init__.py")}
    imported = {f"{module.replace('.', '/')}.py".removeprefix("decant/") for module in modules_of_a_server()}
    assert imported - {"serving/pyfunc.py"} == shipped  # which MLflow copies itself
    for name in shipped:
        assert f"{Path(name).parent}/__init__.py" in packaging.SHIPPED


def test_the_distributions_that_are_required_are_those_that_a_server_imports() -> None:
    modules = {name.partition(".")[0] for names in modules_of_a_server().values() for name in names}
    foreign = modules - sys.stdlib_module_names - {"decant"} - LOADED_LATER
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} <= {*packaging.REQUIREMENTS}


def test_requirements_are_pinned_to_the_versions_of_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packaging.requirements({}, True) == [f"{name}=={version(name)}" for name in packaging.REQUIREMENTS]
    monkeypatch.setattr(packaging, "version", lambda _: "1.2.3+cpu")  # an index has no local versions
    assert packaging.requirements({}, True)[0] == "mlflow==1.2.3"


@pytest.mark.parametrize(
    ("config", "exported", "more"),
    [
        ({}, True, ()),
        ({"pretrained_cfg": {}}, True, ()),
        ({}, False, ("torch", "transformers")),
        ({"pretrained_cfg": {}}, False, ("torch", "transformers", "timm", "torchvision")),
    ],
)
def test_only_a_model_without_onnx_files_requires_pytorch(
    config: dict, exported: bool, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaging, "version", lambda _: "1")
    names = [line.partition("==")[0] for line in packaging.requirements(config, exported)]
    assert names == [*packaging.REQUIREMENTS, *more]


@pytest.mark.parametrize(
    ("config", "exported", "complete"),
    [({"architecture_module": "decant.backbone.lstm"}, False, True), ({"architecture_module": "a"}, True, False)]
    + [({}, exported, False) for exported in (True, False)],
)
def test_all_of_decant_is_shipped_only_where_it_defines_the_network(
    config: dict, exported: bool, complete: bool
) -> None:
    assert packaging.needs_whole_package(config, exported) is complete


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory as distill leaves it, without an ONNX file."""
    folder = tmp_path / "distill"
    (folder / "control").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "predictions.parquet", "tokenizer.json", "control/config.json"):
        (folder / name).write_text(name)
    return folder


def copied(model: Path) -> list[str]:
    """The files that a server gets."""
    target = model.parent / "copy"
    packaging.copy_model(model, target)
    return sorted(str(file.relative_to(target)) for file in target.rglob("*") if file.is_file())


def test_without_an_onnx_file_the_weights_are_shipped(model: Path) -> None:
    assert copied(model) == ["config.json", "manifest.json", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize(("folders", "preferred"), [(["onnx"], "onnx"), (["int8", "onnx"], "int8")])
def test_the_preferred_onnx_file_is_shipped_in_place_of_the_weights(
    folders: list[str], preferred: str, model: Path
) -> None:
    for folder in folders:
        (model / folder).mkdir()
        (model / folder / "model.onnx").write_text(folder)
        (model / folder / "notes.txt").write_text("of the export")
    exported = [f"{preferred}/manifest.json", f"{preferred}/model.onnx"]
    assert copied(model) == sorted(["config.json", "manifest.json", *exported, "tokenizer.json"])


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("single_label_classification", ["label", "score"]),
        ("multi_label_classification", ["labels", "scores"]),
        ("regression", ["score"]),
    ],
)
def test_the_signature_names_the_answers_of_each_task_and_the_parameter(kind: str, names: list[str]) -> None:
    signature = packaging.model_signature(["a text"], packaging.OUTPUT_EXAMPLES[kind])
    assert signature.outputs.input_names() == names
    assert [parameter.name for parameter in signature.params.params] == ["top_k"]


def test_the_signature_of_pairs_names_both_texts() -> None:
    signature = packaging.model_signature([{"text": "a", "text_pair": "b"}], packaging.OUTPUT_EXAMPLES[None])
    assert signature.inputs.input_names() == ["text", "text_pair"]
