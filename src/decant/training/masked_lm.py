"""The learner that fills gaps, and how it is measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from decant.dataset.modality import Batch
from decant.fine_tune import FineTuner
from decant.task.classify.objective import ClassifyObjective
from decant.training.masking import Gaps


class Perplexity(Metric):
    """How many tokens a gap leaves open: e to the cross-entropy; torchmetrics' own takes memory quadratic in M."""

    total: torch.Tensor
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), "sum")
        self.add_state("count", torch.zeros(()), "sum")

    def update(self, logits: torch.Tensor, target: torch.Tensor) -> None:
        """Logits (M, V) and tokens (M,)."""
        self.total += F.cross_entropy(logits, target, reduction="sum")
        self.count += len(target)

    def compute(self) -> torch.Tensor:
        """Over all gaps so far."""
        return (self.total / self.count).exp()


class MaskedTokens(ClassifyObjective):
    """One token of the vocabulary for each gap."""

    monitor = "masked_accuracy"

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def validation_metrics(self, classes: int) -> MetricCollection:
        """Share of the gaps that are filled right, and perplexity over all gaps."""
        right = MulticlassAccuracy(self.vocabulary, average="micro", validate_args=False)
        return MetricCollection({"masked_accuracy": right, "perplexity": Perplexity()})


class Filler(FineTuner):
    """Learns to fill gaps: new ones in each training batch, the same ones in each pass over validation."""

    def __init__(self, *arguments: Any) -> None:
        *others, gaps = arguments
        super().__init__(*others)
        self.gaps: Gaps = gaps

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (M, V) for the M gaps alone: the head over all tokens would cost as much as the backbone."""
        with only(batch["gap"], self.network.base_model):
            return super().forward(batch)[0]

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:  # noqa: D102
        return super().training_step(self.gaps.make(batch), index)

    def validation_step(self, batch: Batch, index: int) -> None:  # noqa: D102
        super().validation_step(self.gaps.make(batch, torch.Generator().manual_seed(index)), index)

    @torch.no_grad()
    def on_train_start(self) -> None:
        """Log one pass over validation before the first step: what the epochs are compared with."""
        if self.global_step:  # a training that goes on
            return
        batches, logger = self.trainer.val_dataloaders, self.trainer.logger
        assert batches is not None
        assert logger is not None
        self.eval()
        for index, batch in enumerate(batches):
            batch = self.gaps.make(batch, torch.Generator().manual_seed(index))
            batch = {k: v.to(self.device) for k, v in batch.items()}
            self.measured.update(self(batch).float(), batch["target"])
        before = {f"before/{k}": float(v) for k, v in self.measured.compute().items()}
        self.measured.reset()
        self.train()
        logger.log_metrics(before, 0)
        print(", ".join(f"{k} {v:.4f}" for k, v in before.items()), flush=True)


@contextmanager
def only(gap: torch.Tensor, body: nn.Module) -> Iterator[None]:
    """`body` hands on the states (1, M, H) of the M gaps, in place of all (B, T, H); heads work token by token."""

    def select(module: nn.Module, inputs: Any, output: Any) -> Any:
        output["last_hidden_state"] = output["last_hidden_state"][gap][None]
        return output

    handle = body.register_forward_hook(select)
    try:
        yield
    finally:
        handle.remove()
