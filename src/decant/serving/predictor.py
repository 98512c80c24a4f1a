"""Predictions of a model directory for raw inputs: the shared part, and the predictor that runs ONNX Runtime.

This module and the modules that it imports use the standard library, NumPy, ONNX Runtime, tokenizers, Pillow and
`decant.core.errors` and `manifest` only: a logged model ships them in place of the training code.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from decant.core import manifest
from decant.core.errors import UserError
from decant.serving.image_preprocessing import ImagePreprocessor
from decant.serving.model_formats import ModelFormat, onnx_file
from decant.serving.preprocessing import Arrays, Check, Preprocessor, no_check
from decant.serving.settings import read_config
from decant.serving.text_preprocessing import TextPreprocessor

BATCH_SIZE = 32
"""Inputs per forward pass."""
AGAIN = "make it again: dvc repro --force distill"
Forward = Callable[[Arrays], np.ndarray]
"""A forward pass: from the inputs of a network, by name, to its logits (B, C)."""
UNREAD = ("model.safetensors", "predictions.parquet")
"""Files of a model directory that predictions with ONNX Runtime do not read."""
MESSAGE_LENGTH = 300
"""Characters of an error of ONNX Runtime that a message repeats."""


class Predictor:
    """Predicts for raw inputs: preprocessing, forward passes in batches, and readable records.

    Args:
        folder: a model directory.
        forward: runs its network.
        input_names: the inputs that the network takes.
        texts_per_input: the accepted numbers of texts in an input; 2: pairs.
    """

    def __init__(
        self, folder: Path, forward: Forward, input_names: Collection[str], texts_per_input: Collection[int] = (1, 2)
    ) -> None:
        self.folder, self.config = folder, read_config(folder)
        self.forward = forward
        self.one_by_one = False
        """Whether each forward pass takes a single input, whatever batch size the caller asks for."""
        self.takes_images = (folder / "preprocessor_config.json").exists()
        """Whether inputs are images instead of texts."""
        self.preprocessor: Preprocessor = (
            ImagePreprocessor(folder)
            if self.takes_images
            else TextPreprocessor(folder, "token_type_ids" in input_names, texts_per_input)
        )
        names = self.config["id2label"]
        self.labels = [names[str(i)] for i in range(len(names))]

    def __call__(self, inputs: Sequence[object], batch_size: int = BATCH_SIZE, check: Check = no_check) -> np.ndarray:
        """Logits (N, C), float32, of raw inputs in their order; inputs of similar length share a batch.

        Args:
            inputs: texts; pairs of texts as (a, b) or {"text": a, "text_pair": b}; Pillow images, or the bytes of image
                files, plain or in base64.
            batch_size: inputs per forward pass; always 1 for texts with the int8 format.
            check: called between the steps of the call; what it raises ends it.

        Raises:
            BadInput: the first input that is none of these.
            UserError: the network has other outputs than config.json says, or returns NaN.
        """
        batch_size = 1 if self.one_by_one else batch_size
        items = self.preprocessor.encode(inputs, check)
        order = self.preprocessor.batch_order(items)
        logits = np.empty((len(items), len(self.labels)), np.float32)
        for start in range(0, len(items), batch_size):
            check()
            batch = order[start : start + batch_size]
            logits[batch] = self._checked(
                self.forward(self.preprocessor.collate([items[i] for i in batch])), len(batch)
            )
        return logits

    def _checked(self, logits: np.ndarray, rows: int) -> np.ndarray:
        """Logits (B, C), if they are finite and of this shape: a label read from others would be of no meaning."""
        shape = (rows, len(self.labels))
        if logits.shape != shape:
            raise UserError(
                f"the network of {self.folder} has outputs of {logits.shape}, its config.json {shape}; {AGAIN}"
            )
        if not np.isfinite(logits).all():
            raise UserError(f"the network of {self.folder} returns values that are not finite; {AGAIN}")
        return logits

    @property
    def has_classes(self) -> bool:
        """Whether predictions are classes, not numbers."""
        return self.config.get("problem_type") != "regression"

    def records(self, logits: np.ndarray, top_k: int = 0) -> list[dict[str, Any]]:
        """A readable prediction for each row of logits (N, C).

        Single-label classification: `label` and its probability `score`. Multi-label classification: `labels` above
        the model's threshold and their `scores`, in descending order. Regression: the number `score`. With `top_k`,
        classification adds `probabilities`: {name: probability} of the `top_k` most probable, in descending order.

        Raises:
            UserError: `top_k` is negative, or given for a regression.
        """
        if top_k < 0 or (top_k and not self.has_classes):
            raise UserError(f"top_k is {top_k}, expected {'0: a number has no classes' if top_k > 0 else '0 or more'}")
        if not self.has_classes:
            return [{"score": score} for score in logits[:, 0].tolist()]
        multi_label = self.config.get("problem_type") == "multi_label_classification"
        scores = sigmoid(logits) if multi_label else softmax(logits)
        records = self._multi_label_records(scores) if multi_label else self._single_label_records(scores)
        if top_k:
            for record, row, ranking in zip(records, scores, np.argsort(-scores, axis=1, kind="stable"), strict=True):
                record["probabilities"] = {self.labels[i]: float(row[i]) for i in ranking[:top_k]}
        return records

    def _single_label_records(self, scores: np.ndarray) -> list[dict[str, Any]]:
        best = zip(scores.argmax(1).tolist(), scores.max(1).tolist(), strict=True)
        return [{"label": self.labels[i], "score": score} for i, score in best]

    def _multi_label_records(self, scores: np.ndarray) -> list[dict[str, Any]]:
        threshold = self.config["decision_threshold"]
        predicted = [[i for i in np.argsort(-row, kind="stable") if row[i] > threshold] for row in scores]
        return [
            {"labels": [self.labels[i] for i in positions], "scores": row[positions].tolist()}
            for row, positions in zip(scores, predicted, strict=True)
        ]


class OnnxPredictor(Predictor):
    """Predicts with the ONNX file of a model directory.

    Args:
        folder: as `distill` writes it: config.json, tokenizer or preprocessor_config.json, onnx/, int8/.
        model_format: `int8` or `onnx`; default: int8 if the folder holds it.
        threads: per forward pass; default: one per core.

    Raises:
        UserError: the folder lacks the files, or they cannot be read, or are not as the manifest lists them.
    """

    def __init__(self, folder: Path, model_format: ModelFormat | None = None, threads: int | None = None) -> None:
        file = onnx_file(folder, model_format)
        manifest.verify(folder, UNREAD, file.parent.name)
        session = create_session(file, threads)
        input_names = [i.name for i in session.get_inputs()]
        config = read_config(folder)
        takes_segments = config.get("body", config).get("type_vocab_size", 0) > 1
        # a network with segment embeddings was exported with token_type_ids only if it was trained on pairs
        texts_per_input = (2,) if "token_type_ids" in input_names else (1,) if takes_segments else (1, 2)
        super().__init__(folder, partial(run_session, session, file), input_names, texts_per_input)
        # dynamic quantisation scales activations by the range of the batch: a prediction would depend on its neighbours
        self.one_by_one = file.parent.name == "int8" and not self.takes_images


def create_session(file: Path, threads: int | None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session for a file, on the CPU.

    Raises:
        UserError: the file cannot be read.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings are about the optimiser, not about the result
    if threads:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # one class per status code, without a common base class
        raise UserError(f"ONNX Runtime cannot read {file} ({error}); {AGAIN}") from error


def run_session(session: onnxruntime.InferenceSession, file: Path, arrays: Arrays) -> np.ndarray:
    """The logits (B, C) of a session.

    Raises:
        UserError: the network does not take the inputs, for example a token id beyond its vocabulary.
    """
    try:
        return session.run(["logits"], arrays)[0]
    except Exception as error:  # see `create_session`
        reason = " ".join(str(error).split())[:MESSAGE_LENGTH]
        raise UserError(
            f"{file} cannot run on inputs of the tokenizer or image processor beside it ({reason}); {AGAIN}"
        ) from error


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, C) of mutually exclusive classes."""
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, C) of independent labels."""
    return 0.5 * (1 + np.tanh(logits / 2))  # without overflow
