"""The MLflow pyfunc around a model directory: raw text or the bytes of an image in, an answer out.

MLflow copies this file into the logged model and runs it there: it imports nothing of decant's, except
the module of an architecture that transformers does not know.
"""

import base64
import binascii
import io
import json
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import PIL.Image
import PIL.ImageOps
import torch
from mlflow.types.type_hints import TypeFromExample
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    CLIPImageProcessor,
)


class Server(mlflow.pyfunc.PythonModel):
    """Answers in batches of 32."""

    def load_context(self, context: Any) -> None:
        """Load weights and tokenizer or image processor from the artifacts."""
        folder = Path(context.artifacts["model"])
        module = json.loads((folder / "config.json").read_text()).get("architecture_module")
        if module and module.startswith("decant.backbone."):
            import_module(module)
        self.images = (folder / "preprocessor_config.json").exists()
        processor = CLIPImageProcessor if self.images else AutoTokenizer
        model = AutoModelForImageClassification if self.images else AutoModelForSequenceClassification
        self.processor = processor.from_pretrained(folder)
        self.model = model.from_pretrained(folder).eval()

    def predict(self, context: Any, model_input: TypeFromExample, params: Any = None) -> pd.DataFrame:
        """One row per input.

        Of classes, `label` and its probability `score`; of any number of labels, `labels` above the model's
        threshold and their `scores`, the surest first; of regression, the number `score`.
        """
        inputs = listed(model_input)
        parts = [self._logits(inputs[i : i + 32]) for i in range(0, len(inputs), 32)]
        config = self.model.config
        logits = torch.cat(parts) if parts else torch.empty(0, config.num_labels)
        if config.problem_type == "regression":
            return pd.DataFrame({"score": logits[:, 0].tolist()})
        if config.problem_type == "multi_label_classification":
            scores, order = logits.sigmoid().sort(dim=1, descending=True)
            counts = (scores > config.decision_threshold).sum(1).tolist()
            labels = [[config.id2label[int(i)] for i in row[:n]] for row, n in zip(order, counts, strict=True)]
            kept = [row[:n].tolist() for row, n in zip(scores, counts, strict=True)]
            return pd.DataFrame({"labels": labels, "scores": kept})
        best, classes = logits.softmax(dim=1).max(dim=1)
        return pd.DataFrame({"label": [config.id2label[int(i)] for i in classes], "score": best.tolist()})

    def _logits(self, inputs: list[Any]) -> torch.Tensor:
        if self.images:
            images = [square(opened(i), self.processor.stored_size) for i in inputs]
            batch = self.processor(images, return_tensors="pt")
        else:
            pairs = isinstance(inputs[0], dict)
            sides = [[str(i[k]) for i in inputs] for k in ("text", "text_pair")] if pairs else [list(map(str, inputs))]
            batch = self.processor(*sides, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            return self.model(**batch).logits


def listed(inputs: Any) -> list[Any]:
    """Inputs one by one; pairs of texts as {"text": a, "text_pair": b}."""
    if isinstance(inputs, pd.DataFrame):
        return inputs.to_dict("records") if "text_pair" in inputs else list(inputs.iloc[:, 0])
    return list(inputs)


def opened(content: Any) -> PIL.Image.Image:
    """The image in bytes, or in base64 as REST requests carry them, upright and in RGB."""
    content = content.encode() if isinstance(content, str) else content
    with suppress(binascii.Error):  # no image file consists of base64's characters and line ends alone
        content = base64.b64decode(b"".join(content.split()), validate=True)
    image = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(content)))
    if image.mode.startswith("I"):  # 16 bits; as prepare does it, which this file cannot import
        return PIL.Image.fromarray((np.asarray(image, np.float32) / 257).round().astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = PIL.Image.new("RGBA", image.size, "white")
    return PIL.Image.alpha_composite(white, image).convert("RGB")


def square(image: PIL.Image.Image, size: int) -> PIL.Image.Image:
    """The square in the middle, as prepare stored those that the network learned from: it loses what they lost."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), PIL.Image.Resampling.BILINEAR, box=box, reducing_gap=2)


mlflow.models.set_model(Server())
