"""The MLflow pyfunc around a model directory: raw text or the bytes of an image in, an answer out.

MLflow copies this file into the logged model and runs it there, beside copies of `answer.py` and `inputs.py`. A
directory with ONNX files needs nothing else of decant's, and no PyTorch.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.types.type_hints import TypeFromExample

from decant.core.errors import UserError
from decant.serving.predictor import FILE, VARIANTS, Answerer, Model
from decant.serving.preprocessing import Arrays


class Server(mlflow.pyfunc.PythonModel):
    """Answers in batches of 32, by ONNX Runtime where there are files for it, else by PyTorch."""

    def load_context(self, context: Any) -> None:
        """Load the network and its tokenizer or image processor from the artifacts."""
        folder = Path(context.artifacts["model"])
        exported = any((folder / name / FILE).exists() for name in VARIANTS)
        self.model = Model(folder) if exported else by_torch(folder)

    def predict(self, context: Any, model_input: TypeFromExample, params: Any = None) -> pd.DataFrame:
        """One row per input, see `Answerer.records`; `params` may hold its `top_k`.

        Raises:
            MlflowException: a bad input or parameter; status 400 by REST.
        """
        try:
            logits = self.model(listed(model_input))
            return pd.DataFrame(self.model.records(logits, (params or {}).get("top_k") or 0))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def by_torch(folder: Path) -> Answerer:
    """A model directory without ONNX files: a teacher, a control."""
    import torch
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification, AutoTokenizer

    module = json.loads((folder / "config.json").read_text("utf-8")).get("architecture_module", "")
    if module.startswith(("decant.backbone.", "decant.models.")):
        import_module(module)
    images = (folder / "preprocessor_config.json").exists()
    auto = AutoModelForImageClassification if images else AutoModelForSequenceClassification
    network = auto.from_pretrained(folder, dtype=torch.float32, use_safetensors=True).eval()

    @torch.inference_mode()
    def engine(arrays: Arrays) -> np.ndarray:
        return network(**{k: torch.from_numpy(v) for k, v in arrays.items()}).logits.numpy()

    return Answerer(folder, engine, () if images else AutoTokenizer.from_pretrained(folder).model_input_names)


def listed(inputs: Any) -> list[Any]:
    """Inputs one by one; pairs of texts as {"text": a, "text_pair": b}."""
    if isinstance(inputs, pd.DataFrame):  # of texts or images MLflow hands on the first column alone
        return inputs.to_dict("records") if "text_pair" in inputs else list(inputs.iloc[:, 0])
    return list(inputs)


mlflow.models.set_model(Server())
