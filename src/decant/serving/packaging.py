"""A model directory as a model of MLflow's: what a server needs of it, and no more."""

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
from mlflow.types.schema import AnyType, ColSpec, Schema

ANSWERS: dict[str | None, dict[str, list[Any]]] = {
    None: {"label": ["a"], "score": [0.5]},
    "single_label_classification": {"label": ["a"], "score": [0.5]},
    "multi_label_classification": {"labels": [["a", "b"]], "scores": [[0.9, 0.8]]},
    "regression": {"score": [0.5]},
}
"""What a served model gives, by the `problem_type` in its config."""
PACKAGE = Path(__file__).parents[1]
SHIPPED = (
    *("__init__.py", "core/__init__.py", "core/errors.py"),
    *(f"serving/{name}.py" for name in ("__init__", "predictor", "preprocessing", "pixels")),
)
RUNTIME = ["mlflow", "numpy", "onnxruntime", "pandas", "pillow", "tokenizers"]
"""What `pyfunc.py` imports, of decant's and of others'."""


def log(run_id: str, name: str, folder: Path, examples: list[Any]) -> None:
    """Log a model directory to a run; `examples` of its inputs: texts, pairs, bytes of images."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    with TemporaryDirectory() as place:
        exported = served(folder, Path(place, "model"))
        training = ["torch", "transformers"] + ["timm", "torchvision"] * ("pretrained_cfg" in config)
        whole = "architecture_module" in config and not exported  # transformers does not know it
        Model.log(  # as mlflow.pyfunc.log_model does, which takes the run that is open
            artifact_path=None,
            name=name,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            python_model=str(PACKAGE / "serving/pyfunc.py"),
            artifacts={"model": str(Path(place, "model"))},
            code_paths=[str(PACKAGE if whole else copied(PACKAGE, Path(place, "decant"), SHIPPED))],
            signature=signature(examples, ANSWERS[config.get("problem_type")]),
            input_example=examples,
            pip_requirements=[f"{p}=={version(p).partition('+')[0]}" for p in RUNTIME + training * (not exported)],
        )


def exists(run_id: str, name: str) -> bool:
    """Whether a run has a model of that name."""
    found = mlflow.search_logged_models(
        filter_string=f"source_run_id = '{run_id}' and name = '{name}'", output_format="list"
    )
    return any(model.status == "READY" for model in found)


def signature(examples: list[Any], answer: dict[str, list[Any]]) -> ModelSignature:
    """Of a served model; inputs are of any type, for MLflow would make a text of a number: `Server` refuses it."""
    given = infer_signature(None, pd.DataFrame(answer), {"top_k": 0})
    names = list(examples[0]) if isinstance(examples[0], dict) else [None]
    return ModelSignature(Schema([ColSpec(AnyType(), name) for name in names]), given.outputs, given.params)


def served(folder: Path, place: Path) -> bool:
    """Copy to `place` what a server needs of a model directory; whether ONNX Runtime serves it."""
    variant = next((v for v in ("int8", "onnx") if (folder / v / "model.onnx").exists()), None)
    left = {folder / "predictions.parquet"} | ({folder / "model.safetensors"} if variant else set())
    copied(folder, place, sorted(f.name for f in {*folder.iterdir()} - left if f.is_file()))
    if variant:
        copied(folder / variant, place / variant, ["model.onnx"])
    return bool(variant)


def copied(folder: Path, place: Path, names: Iterable[str]) -> Path:
    """`place`, with copies of the named files of `folder`."""
    place.mkdir()
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, place / name)
    return place
