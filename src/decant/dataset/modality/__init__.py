"""A modality: everything that depends on whether inputs are texts or images, from the table to the network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import TransformerMixin
from transformers import PreTrainedModel

PREDICT_BATCH = 64
"""Rows of a batch in a pass without gradients."""
Batch = dict[str, torch.Tensor]
PredictFn = Callable[[Sequence[Any]], torch.Tensor]
"""From raw inputs to logits (N, C), in fp32, on the CPU."""


@dataclass(slots=True)
class Row:
    """One encoded example.

    `target` is encoded by the task; `soft` holds the teacher's stored logits (C,), if there are any; `number` is the
    position among the training rows, for a teacher that encodes the same row with its own tokenizer.
    """

    input: Any
    target: Any
    soft: np.ndarray | None = None
    number: int | None = None


class Modality(ABC):
    """What the column `input` of the prepared tables holds; the data source's `size` decides it."""

    name: str
    baseline_features: str
    """What the linear baseline reads, in words."""

    @abstractmethod
    def duplicate_keys(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """Keys that are equal for inputs that count as duplicates; "" for an empty input."""

    @abstractmethod
    def display(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """Inputs as messages and logged tables show them."""

    @abstractmethod
    def describe(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Statistics of the inputs, for card.json."""

    @abstractmethod
    def raw(self, frame: pd.DataFrame) -> list[Any]:
        """Inputs in memory, as the linear baseline and `Encoder.predict_fn` take them."""

    @abstractmethod
    def request_inputs(self, frame: pd.DataFrame) -> list[Any]:
        """Inputs as a request to a model server holds them."""

    @abstractmethod
    def feature_extractor(self) -> TransformerMixin:
        """From raw inputs to the features of the linear baseline."""

    @abstractmethod
    def auto_model(self) -> Any:
        """The `AutoModelFor...` class of transformers that puts a classification head on a backbone."""

    @abstractmethod
    def encoder(self, folder: Path, max_length: int | None = None) -> "Encoder":
        """The encoder for the network of a model directory.

        Raises:
            UserError: the network is for another modality, or for shorter inputs than `max_length`.
        """


class Batches(ABC):
    """From rows in memory to the tensors of a forward pass."""

    @abstractmethod
    def length(self, item: object) -> int:
        """Length of an input, which decides its cost; inputs of similar length share a batch."""

    @abstractmethod
    def stack(self, items: Sequence[object]) -> Batch:
        """Tensors of encoded inputs."""

    @abstractmethod
    def inputs(self, batch: Batch) -> Batch:
        """The keyword arguments of the network, on the device of the batch."""

    def apply(self, rows: Sequence[Row], call: Callable[[Batch], torch.Tensor], device: torch.device) -> torch.Tensor:
        """The results (N, ...) of `call` on the inputs of `rows`, on the CPU, in the order of `rows`.

        Inputs of similar length share a batch.
        """
        order = sorted(range(len(rows)), key=lambda i: self.length(rows[i].input))
        results = []
        for start in range(0, len(order), PREDICT_BATCH):
            batch = self.collate([rows[i] for i in order[start : start + PREDICT_BATCH]])
            results.append(call(self.inputs({k: v.to(device) for k, v in batch.items()})).cpu())
        return torch.cat(results)[np.argsort(order)]

    def collate(self, rows: Sequence[Row]) -> Batch:
        """The tensors of `stack`, `target` (B, ...) and, if rows have them, `soft` (B, C) and `number` (B,)."""
        batch = self.stack([r.input for r in rows])
        batch["target"] = torch.from_numpy(np.stack([np.asarray(r.target) for r in rows]))
        if rows[0].soft is not None:
            batch["soft"] = torch.from_numpy(np.stack([r.soft for r in rows if r.soft is not None]))
        if rows[0].number is not None:
            batch["number"] = torch.tensor([r.number for r in rows])
        return batch


class Encoder(Batches):
    """Encodes raw inputs with the tokenizer or the image processor of a model directory."""

    processor: Any
    """The tokenizer or image processor."""

    @abstractmethod
    def encode(self, frame: pd.DataFrame) -> list[Any]:
        """The inputs of a table, as they are held in memory."""

    @abstractmethod
    def predict_fn(self, network: PreTrainedModel) -> PredictFn:
        """A function from raw inputs to logits, as a model server computes them."""

    def rows(self, frames: dict[str, pd.DataFrame]) -> dict[str, list[Row]]:
        """{split: rows}, in the order of the tables."""
        return {
            split: [Row(item, target) for item, target in zip(self.encode(frame), frame["target"], strict=True)]
            for split, frame in frames.items()
        }
