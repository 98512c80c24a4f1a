"""A task: what the head looks like, how it is supervised and scored, what a soft target means for it."""

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torchmetrics import MetricCollection
from transformers import PreTrainedModel


class Task(ABC):
    """One kind of target."""

    monitor: str
    """Name of the metric that chooses the epoch: a share in [0, 1], larger is better."""

    @abstractmethod
    def model(self, folder: Path, labels: list[str]) -> PreTrainedModel:
        """The network of a model directory with a head for `labels`; new parts are drawn from the global seed."""

    @abstractmethod
    def loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The supervised loss, a scalar, of logits (B, C) and targets (B,); a target of -1 adds nothing."""

    @abstractmethod
    def metrics(self, classes: int) -> MetricCollection:
        """What is measured on validation after each epoch, from logits (B, C) and targets (B,)."""
