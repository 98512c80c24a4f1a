"""One label of several: softmax head, cross-entropy, accuracy and macro F1. A soft target is a distribution."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from decant import model
from decant.task import Task


class Classify(Task):
    """Single-label classification of texts."""

    monitor = "accuracy"

    def model(self, folder: Path, labels: list[str]) -> PreTrainedModel:
        """See `Task.model`."""
        names = dict(enumerate(labels))
        return model.with_head(
            AutoModelForSequenceClassification, folder, id2label=names, label2id={v: k for k, v in names.items()}
        )

    def loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, averaged over all B rows (also the ones without a label)."""
        return F.cross_entropy(logits, target, ignore_index=-1, reduction="sum") / len(target)

    def metrics(self, classes: int) -> MetricCollection:
        """See `Task.metrics`."""
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "macro_f1": MulticlassF1Score(classes, average="macro"),
            }
        )
