"""Raw inputs to answers, by ONNX Runtime: all that a server of a finished model directory needs.

Here and in `inputs.py` nothing is imported but the standard library, numpy, onnxruntime, tokenizers, Pillow and
`decant.UserError`: a logged model ships these files in place of the training code.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from decant.core.errors import UserError
from decant.serving.preprocessing import Arrays, Images, Inputs, Texts, read_json

BATCH = 32
"""Inputs of a forward pass."""
VARIANTS = ("int8", "onnx")
"""Folders of a model directory that may hold a `FILE`, the preferred first."""
FILE = "model.onnx"
Engine = Callable[[Arrays], np.ndarray]
"""From the inputs of a network, by name, to its logits (B, C)."""


class Answerer:
    """What every engine shares: raw inputs to the arrays of a network, and its logits to answers.

    `names`: the inputs that the network takes.
    """

    def __init__(self, folder: Path, engine: Engine, names: Collection[str], sides: Collection[int] = (1, 2)) -> None:
        self.config = read_json(folder / "config.json")
        self.engine, self.alone = engine, False
        self.images = (folder / "preprocessor_config.json").exists()
        """Whether inputs are images, in place of texts."""
        self.inputs: Inputs = Images(folder) if self.images else Texts(folder, "token_type_ids" in names, sides)
        # transformers leaves its default, two classes without names, out of the file
        named = self.config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
        self.labels = [named[str(i)] for i in range(len(named))]

    def __call__(self, inputs: Sequence[Any], batch_size: int = BATCH) -> np.ndarray:
        """Logits (N, C), float32, of raw inputs in their order; like lengths share a batch.

        Args:
            inputs: texts; pairs of texts as (a, b) or {"text": a, "text_pair": b}; Pillow images, or the bytes of image
                files, as they are or in base64.
            batch_size: inputs of a forward pass; of texts in 8 bits it is 1.

        Raises:
            BadInput: the first input that is none of them.
        """
        batch_size = 1 if self.alone else batch_size
        items = self.inputs.read(inputs)
        order = self.inputs.order(items)
        logits = np.empty((len(items), len(self.labels)), np.float32)
        for start in range(0, len(items), batch_size):
            part = order[start : start + batch_size]
            logits[part] = self.engine(self.inputs.batch([items[i] for i in part]))
        return logits

    def records(self, logits: np.ndarray, top_k: int = 0) -> list[dict[str, Any]]:
        """What a user is told of each row of logits (N, C).

        Of classes, `label` and its probability `score`; of any number of labels, `labels` above the model's
        threshold and their `scores`, the surest first; of regression, the number `score`. With `top_k`, of classes or
        labels, `probabilities` too: {name: probability} of the `top_k` surest, the surest first.

        Raises:
            UserError: `top_k` below 0, or of regression.
        """
        kind = self.config.get("problem_type")
        if top_k < 0 or (top_k and kind == "regression"):
            raise UserError(f"top_k is {top_k}, expected {'0: a number has no classes' if top_k > 0 else '0 or more'}")
        if kind == "regression":
            return [{"score": score} for score in logits[:, 0].tolist()]
        several = kind == "multi_label_classification"
        scores = sigmoid(logits) if several else softmax(logits)
        answers = self._several(scores) if several else self._single(scores)
        if top_k:
            for answer, row, best in zip(answers, scores, np.argsort(-scores, axis=1, kind="stable"), strict=True):
                answer["probabilities"] = {self.labels[i]: float(row[i]) for i in best[:top_k]}
        return answers

    def _single(self, scores: np.ndarray) -> list[dict[str, Any]]:
        best = zip(scores.argmax(1).tolist(), scores.max(1).tolist(), strict=True)
        return [{"label": self.labels[i], "score": score} for i, score in best]

    def _several(self, scores: np.ndarray) -> list[dict[str, Any]]:
        threshold = self.config["decision_threshold"]
        chosen = [[i for i in np.argsort(-row, kind="stable") if row[i] > threshold] for row in scores]
        return [
            {"labels": [self.labels[i] for i in some], "scores": row[some].tolist()}
            for row, some in zip(scores, chosen, strict=True)
        ]


class Model(Answerer):
    """A model directory with ONNX files.

    Args:
        folder: as `distill` writes it: config.json, tokenizer or preprocessor_config.json, onnx/, int8/.
        variant: `int8` or `onnx`; default: int8 where there is one.
        threads: of a forward pass; default: one per core.

    Raises:
        UserError: a folder without the files, or with unreadable ones.
    """

    def __init__(self, folder: Path, variant: str | None = None, threads: int | None = None) -> None:
        session = opened(found(folder, variant), threads)
        names = [i.name for i in session.get_inputs()]
        config = read_json(folder / "config.json")
        segments = config.get("body", config).get("type_vocab_size", 0) > 1
        # a network that knows segments was exported with them where it learned from pairs
        sides = (2,) if "token_type_ids" in names else (1,) if segments else (1, 2)
        super().__init__(folder, lambda arrays: session.run(["logits"], arrays)[0], names, sides)
        # activations are rounded by the range of a whole batch: in company, an answer would depend on the others
        self.alone = found(folder, variant).parent.name == "int8" and not self.images


def found(folder: Path, variant: str | None = None) -> Path:
    """The `FILE` of a variant; None: of the preferred one.

    Raises:
        UserError: there is none.
    """
    there = [name for name in VARIANTS if (folder / name / FILE).is_file()]
    if not there:
        raise UserError(f"{folder} holds neither of {', '.join(f'{v}/{FILE}' for v in VARIANTS)}; run dvc repro")
    if variant not in (None, *there):
        raise UserError(f"{folder} holds no {variant}/{FILE}; choose among {', '.join(there)}")
    return folder / (variant or there[0]) / FILE


def opened(file: Path, threads: int | None) -> onnxruntime.InferenceSession:
    """The network of a file, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings are of the optimiser, not of the answer
    if threads:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a class for each of its status codes, without a common one
        again = "make it again: dvc repro --force distill"
        raise UserError(f"ONNX Runtime cannot read {file} ({error}); {again}") from error


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of classes that exclude each other (N, C)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of each label by itself (N, C)."""
    return 0.5 * (1 + np.tanh(logits / 2))  # without overflow
