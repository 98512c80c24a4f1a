"""Masked language modelling: its rows, network, learner and metrics."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from transformers import AutoModelForMaskedLM, PreTrainedModel

from decant.augment.none import NoAugmentation
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.dataset.modality import Batch, Encoder, Row
from decant.dataset.prepared import Prepared
from decant.models import directory, surgery
from decant.models.directory import Head
from decant.task.classify.objective import ClassifyObjective
from decant.training.adaptation import Adapt
from decant.training.datamodule import DataModule
from decant.training.job import TrainingJob
from decant.training.learner import SupervisedLearner
from decant.training.masking import Masking
from decant.training.trainer import fit


class Perplexity(Metric):
    """e to the cross-entropy of the masked tokens; torchmetrics' own takes memory quadratic in M."""

    total: torch.Tensor
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), "sum")
        self.add_state("count", torch.zeros(()), "sum")

    def update(self, logits: torch.Tensor, target: torch.Tensor) -> None:
        """Add logits (M, V) and tokens (M,)."""
        self.total += F.cross_entropy(logits, target, reduction="sum")
        self.count += len(target)

    def compute(self) -> torch.Tensor:
        """Over all masked tokens so far."""
        return (self.total / self.count).exp()


class MaskedTokens(ClassifyObjective):
    """The objective of masked language modelling: one token of the vocabulary for each masked token."""

    monitor = "masked_accuracy"

    def __init__(self, vocabulary_size: int) -> None:
        self.vocabulary_size = vocabulary_size

    def validation_metrics(self, classes: int) -> MetricCollection:
        """Share of the masked tokens that are predicted, and perplexity."""
        accuracy = MulticlassAccuracy(self.vocabulary_size, average="micro", validate_args=False)
        return MetricCollection({"masked_accuracy": accuracy, "perplexity": Perplexity()})


class MaskedLMLearner(SupervisedLearner):
    """Predicts masked tokens: new masks in each training batch, the same ones in each pass over validation."""

    def __init__(self, *args: Any, masking: Masking, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.masking = masking

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (M, V) of the M masked tokens alone: the head over all tokens would cost as much as the backbone."""
        with states_of(batch["masked"], self.network.base_model):
            return super().forward(batch)[0]

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:  # noqa: D102
        return super().training_step(self.masking.masked(batch), index)

    def validation_step(self, batch: Batch, index: int) -> None:  # noqa: D102
        super().validation_step(self.validation_batch(batch, index), index)

    def validation_batch(self, batch: Batch, index: int) -> Batch:
        """A batch with the masks that its index determines."""
        return self.masking.masked(batch, torch.Generator().manual_seed(index))

    @torch.no_grad()
    def on_train_start(self) -> None:
        """Log one pass over validation before the first step, to compare the epochs with."""
        if self.global_step:  # a resumed training
            return
        batches, logger = self.trainer.val_dataloaders, self.trainer.logger
        assert batches is not None
        assert logger is not None
        self.eval()
        for index, batch in enumerate(batches):
            batch = {k: v.to(self.device) for k, v in self.validation_batch(batch, index).items()}
            self.validation_metrics.update(self(batch).float(), batch["target"])
        before = {f"before/{k}": float(v) for k, v in self.validation_metrics.compute().items()}
        self.validation_metrics.reset()
        self.train()
        logger.log_metrics(before, 0)
        print(", ".join(f"{k} {v:.4f}" for k, v in before.items()), flush=True)


@contextmanager
def states_of(masked: torch.Tensor, backbone: nn.Module) -> Iterator[None]:
    """`backbone` returns the states (1, M, H) of the M masked tokens in place of all (B, T, H).

    The head of a masked language model works on each token by itself.
    """

    def select(module: nn.Module, inputs: Any, output: Any) -> Any:
        output["last_hidden_state"] = output["last_hidden_state"][masked][None]
        return output

    handle = backbone.register_forward_hook(select)
    try:
        yield
    finally:
        handle.remove()


def train_masked_lm(job: TrainingJob, rate: float) -> PreTrainedModel:
    """Train the network in `job.init_dir` under a masked-language-model head; `rate`: share of masked tokens.

    Raises:
        UserError: a tokenizer without a mask token, texts without tokens.
    """
    pl.seed_everything(job.seed, verbose=False)
    hparams = job.hparams
    encoder = job.prepared.modality.encoder(job.init_dir, hparams.max_length)
    masking = Masking(encoder.processor, rate)
    rows = maskable_rows(encoder, masking, job.prepared)
    data = DataModule(rows["train"], rows["validation"], encoder, hparams.batch_size, job.seed, section=hparams.section)
    network = masked_lm_network(job.init_dir)
    objective = MaskedTokens(network.get_input_embeddings().num_embeddings)
    lr = hparams.lr * read_json(job.init_dir / "manifest.json")["lr_scale"]
    learner = MaskedLMLearner(network, encoder, objective, hparams, lr, Adapt(), NoAugmentation(), masking=masking)
    return fit(learner, data, dataclasses.replace(job, objective=objective))


def masked_lm_network(folder: Path) -> PreTrainedModel:
    """The backbone of `folder` under a new masked-language-model head.

    The layer for mean pooling is removed: after it no token has a state of its own.
    """
    network = directory.with_head(AutoModelForMaskedLM, folder, Head())
    surgery.remove_mean_pooling_layer(network.base_model)
    return network


def maskable_rows(encoder: Encoder, masking: Masking, prepared: Prepared) -> dict[str, list[Row]]:
    """{split: rows} with at least one token that can be masked.

    Raises:
        UserError: a split without any.
    """
    rows = {
        split: [r for r in encoded if masking.maskable(encoder.stack([r.input])["input_ids"]).any()]
        for split, encoded in encoder.rows(prepared.frames).items()
    }
    if empty := [split for split, split_rows in rows.items() if not split_rows]:
        raise UserError(f"{', '.join(empty)} of the source data has no text with a token to mask; use another source")
    return rows
