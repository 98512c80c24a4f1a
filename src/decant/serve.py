"""The MLflow pyfunc around a model directory: raw text in, label and probability out.

MLflow copies this file into the logged model and runs it there: it imports nothing of decant's, except
the module of an architecture that transformers does not know.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from mlflow.types.type_hints import TypeFromExample
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class TextClassifier(mlflow.pyfunc.PythonModel):
    """Classifies texts in batches of 32."""

    def load_context(self, context: Any) -> None:
        """Load weights and tokenizer from the artifacts."""
        folder = Path(context.artifacts["model"])
        module = json.loads((folder / "config.json").read_text()).get("architecture_module")
        if module and module.startswith("decant.backbone."):
            import_module(module)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    def predict(self, context: Any, model_input: TypeFromExample, params: Any = None) -> pd.DataFrame:
        """One row per text: `label` and its probability `score`."""
        texts = model_input.iloc[:, 0] if isinstance(model_input, pd.DataFrame) else model_input
        texts = [str(text) for text in texts]
        parts = [self._scores(texts[i : i + 32]) for i in range(0, len(texts), 32)]
        scores, classes = torch.cat(parts).max(dim=1) if parts else (torch.empty(0), torch.empty(0))
        names = self.model.config.id2label
        return pd.DataFrame({"label": [names[int(i)] for i in classes], "score": scores.tolist()})

    def _scores(self, texts: list[str]) -> torch.Tensor:
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            return self.model(**tokens).logits.softmax(dim=1)


mlflow.models.set_model(TextClassifier())
