"""The MLflow pyfunc model around a model directory: raw texts or the bytes of images in, predictions out.

MLflow copies this file into the logged model and runs it there, beside copies of the modules that it imports. A model
directory with ONNX files needs no other code of decant, and no PyTorch.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.types.type_hints import TypeFromExample

from decant.core.errors import UserError
from decant.serving.opening import open_predictor


class ServedModel(mlflow.pyfunc.PythonModel):
    """Predicts in batches of `BATCH_SIZE`, with ONNX Runtime if the model directory holds ONNX files, else PyTorch."""

    def load_context(self, context: Any) -> None:
        """Load the network and its tokenizer or image processor from the artifacts."""
        self.predictor = open_predictor(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: TypeFromExample, params: Any = None) -> pd.DataFrame:
        """One row per input, see `Predictor.records`; `params` may hold its `top_k`.

        Raises:
            MlflowException: a bad input or parameter; status 400 by REST.
        """
        try:
            logits = self.predictor(input_list(model_input))
            return pd.DataFrame(self.predictor.records(logits, (params or {}).get("top_k") or 0))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def input_list(model_input: Any) -> list[Any]:
    """Inputs one by one; pairs of texts as {"text": a, "text_pair": b}.

    MLflow has passed over columns and parameters that the signature lacks, and elements of a list after the first.

    Raises:
        UserError: a table of several columns that are no pair.
    """
    if not isinstance(model_input, pd.DataFrame):
        return list(model_input)
    if "text_pair" in model_input:
        return model_input.to_dict("records")
    if len(model_input.columns) != 1:
        names = ", ".join(map(str, model_input.columns))
        raise UserError(f"the columns are {names}, expected one column, or text and text_pair for a pair")
    return list(model_input.iloc[:, 0])


mlflow.models.set_model(ServedModel())
