"""A modality: all that depends on whether inputs are texts or images, from the table to the network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import TransformerMixin
from transformers import PreTrainedModel

PREDICT_BATCH = 64
"""Rows of a pass without gradients."""
Batch = dict[str, torch.Tensor]
Answer = Callable[[Sequence[Any]], torch.Tensor]
"""From raw inputs to logits (N, C) on the CPU, in fp32."""


@dataclass(slots=True)
class Row:
    """One encoded example; `target` as the task encodes it; `soft`: the teacher's stored logits (C,), if there are any.

    `number`: which of the rows to learn from it is, for a teacher that reads it in a way of its own.
    """

    input: Any
    target: Any
    soft: np.ndarray | None = None
    number: int | None = None


class Modality(ABC):
    """What the tables of `prepare` hold in their column `input`; the data source's `size` chooses it."""

    name: str
    linear_features: str
    """What the linear baseline reads, for the report."""

    @abstractmethod
    def read(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
        """`frame` with `input` as it is stored, and why some rows have none: {row_id: reason}."""

    @abstractmethod
    def keys(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """Equal for inputs that count as the same, empty for an empty input."""

    @abstractmethod
    def shown(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """Inputs as a message can name them."""

    @abstractmethod
    def describe(self, frame: pd.DataFrame) -> dict[str, Any]:
        """What card.json says of the inputs."""

    @abstractmethod
    def raw(self, frame: pd.DataFrame) -> list[Any]:
        """Inputs in memory: what the linear baseline and `Encoder.answer` take."""

    @abstractmethod
    def sent(self, frame: pd.DataFrame) -> list[Any]:
        """Inputs as a server is sent them."""

    @abstractmethod
    def features(self) -> TransformerMixin:
        """From raw inputs to the features of the linear baseline."""

    @abstractmethod
    def auto(self) -> Any:
        """The class of transformers that puts a classification head on a backbone."""

    @abstractmethod
    def encoder(self, folder: Path, max_length: int | None = None) -> "Encoder":
        """What the network of a model directory takes.

        Raises:
            UserError: a network that does not go with the modality or the length.
        """


class Batches(ABC):
    """From rows in memory to the tensors of a forward pass."""

    @abstractmethod
    def length(self, item: Any) -> int:
        """What decides the cost of an input; like lengths share a batch."""

    @abstractmethod
    def stack(self, items: Sequence[Any]) -> Batch:
        """Tensors of inputs."""

    @abstractmethod
    def inputs(self, batch: Batch) -> Batch:
        """The arguments of the network, on the device of the batch."""

    def apply(self, rows: Sequence[Row], call: Callable[[Batch], torch.Tensor], device: torch.device) -> torch.Tensor:
        """What `call` makes of inputs of `rows` (N, ...), on the CPU, in their order; like lengths share a batch."""
        order = sorted(range(len(rows)), key=lambda i: self.length(rows[i].input))
        parts = []
        for start in range(0, len(order), PREDICT_BATCH):
            batch = self.collate([rows[i] for i in order[start : start + PREDICT_BATCH]])
            parts.append(call(self.inputs({k: v.to(device) for k, v in batch.items()})).cpu())
        return torch.cat(parts)[np.argsort(order)]

    def collate(self, rows: Sequence[Row]) -> Batch:
        """The tensors of `stack`, `target` (B, ...) and, where rows have them, `soft` (B, C) and `number` (B,)."""
        batch = self.stack([r.input for r in rows])
        batch["target"] = torch.from_numpy(np.stack([np.asarray(r.target) for r in rows]))
        if rows[0].soft is not None:
            batch["soft"] = torch.from_numpy(np.stack([r.soft for r in rows if r.soft is not None]))
        if rows[0].number is not None:
            batch["number"] = torch.tensor([r.number for r in rows])
        return batch


class Encoder(Batches):
    """Takes raw inputs too, with the tokenizer or image processor of a model directory."""

    processor: Any

    @abstractmethod
    def encode(self, frame: pd.DataFrame) -> list[Any]:
        """Each input of a table, as it is kept in memory."""

    @abstractmethod
    def answer(self, network: PreTrainedModel) -> Answer:
        """What a server does: from raw inputs to logits."""

    def rows(self, frames: dict[str, pd.DataFrame]) -> dict[str, list[Row]]:
        """{split: rows}, in the order of the tables."""
        return {
            split: [Row(item, target) for item, target in zip(self.encode(frame), frame["target"], strict=True)]
            for split, frame in frames.items()
        }


def of(size: int | None) -> Modality:
    """Images stored as squares of `size` pixels; texts where there is no size."""
    if size is None:
        return import_module("decant.dataset.modality.text").Text()
    return import_module("decant.dataset.modality.image").Image(size)
