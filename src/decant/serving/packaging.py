"""Logs a model directory as an MLflow model: the files and the code that a server needs, and no more."""

import json
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import mlflow.pyfunc
import pandas as pd
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.tracking.context.registry import resolve_tags
from mlflow.types.schema import AnyType, ColSpec, Schema

from decant.core import manifest
from decant.core.redaction import redacted_values
from decant.serving.model_formats import ONNX_FILE, exported_formats

OUTPUT_EXAMPLES: dict[str | None, dict[str, list[Any]]] = {
    None: {"label": ["a"], "score": [0.5]},
    "single_label_classification": {"label": ["a"], "score": [0.5]},
    "multi_label_classification": {"labels": [["a", "b"]], "scores": [[0.9, 0.8]]},
    "regression": {"score": [0.5]},
}
"""Example output of a served model by the `problem_type` in its config.json."""
PACKAGE = Path(__file__).parents[1]
SHIPPED = (
    *("__init__.py", "core/__init__.py"),
    *(f"core/{name}.py" for name in ("errors", "hashing", "manifest", "redaction")),
    *(
        f"serving/{name}.py"
        for name in ("__init__", "image_preprocessing", "limits", "model_formats", "opening", "pixels")
    ),
    *(
        f"serving/{name}.py"
        for name in ("predictor", "preprocessing", "settings", "text_preprocessing", "token_template")
    ),
)
"""The files of decant that `pyfunc.py` imports."""
REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow", "tokenizers")
"""The distributions that `pyfunc.py` imports."""


def log_model(run_id: str, name: str, folder: Path, examples: list[object]) -> None:
    """Log a model directory to a run; `examples`: inputs, i.e. texts, pairs of texts, or the bytes of images."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    exported = bool(exported_formats(folder))
    with TemporaryDirectory() as temporary:
        copy_model(folder, Path(temporary, "model"))
        code = PACKAGE if needs_whole_package(config, exported) else Path(temporary, "decant")
        if code != PACKAGE:
            copy_files(PACKAGE, code, SHIPPED)
        Model.log(  # what mlflow.pyfunc.log_model calls; that function logs to the active run
            artifact_path=None,
            name=name,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            python_model=str(PACKAGE / "serving/pyfunc.py"),
            artifacts={"model": str(Path(temporary, "model"))},
            code_paths=[str(code)],
            signature=model_signature(examples, OUTPUT_EXAMPLES[config.get("problem_type")]),
            input_example=examples,
            pip_requirements=requirements(config, exported),
            tags=redacted_values(resolve_tags()),  # MLflow's own: git's remote may hold a token
        )


def has_model(run_id: str, name: str) -> bool:
    """Whether a run has a logged model of that name."""
    models = mlflow.search_logged_models(
        filter_string=f"source_run_id = '{run_id}' and name = '{name}'", output_format="list"
    )
    return any(model.status == "READY" for model in models)


def needs_whole_package(config: dict[str, object], exported: bool) -> bool:
    """Whether loading the model imports the module of an architecture that transformers does not know."""
    return "architecture_module" in config and not exported


def requirements(config: dict[str, object], exported: bool) -> list[str]:
    """Pinned distributions that a server needs: PyTorch only for a model without ONNX files."""
    torch = ("torch", "transformers") if not exported else ()
    timm = ("timm", "torchvision") if not exported and "pretrained_cfg" in config else ()
    return [f"{name}=={version(name).partition('+')[0]}" for name in (*REQUIREMENTS, *torch, *timm)]


def model_signature(examples: list[object], output: dict[str, list[object]]) -> ModelSignature:
    """The signature of a served model.

    Inputs are of any type: MLflow would convert a number to a text, which `ServedModel` has to refuse.
    """
    inferred = infer_signature(None, pd.DataFrame(output), {"top_k": 0})
    columns = list(examples[0]) if isinstance(examples[0], dict) else [None]
    return ModelSignature(Schema([ColSpec(AnyType(), name) for name in columns]), inferred.outputs, inferred.params)


def copy_model(folder: Path, target: Path) -> None:
    """Copy the files of a model directory that a server needs: the preferred ONNX file, else the weights.

    The copy has a manifest of its own.

    Raises:
        UserError: a file is not as the manifest of `folder` lists it.
    """
    formats = exported_formats(folder)
    manifest.verify(folder, inner=formats[0] if formats else "")
    excluded = {"predictions.parquet", manifest.FILE} | ({"model.safetensors"} if formats else set())
    copy_files(folder, target, sorted(f.name for f in folder.iterdir() if f.is_file() and f.name not in excluded))
    for name in formats[:1]:
        copy_files(folder / name, target / name, [ONNX_FILE])
    manifest.write(target)


def copy_files(folder: Path, target: Path, names: Iterable[str]) -> None:
    """Copy the named files of `folder` to the new folder `target`."""
    target.mkdir()
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, target / name)
