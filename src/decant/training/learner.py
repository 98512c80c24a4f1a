"""The Lightning module of a training: a network under AdamW with warm-up and decay; a subclass defines the loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from decant.augment import Augment
from decant.config.schema import Training
from decant.dataset.modality import Batch, Batches
from decant.models.blocks import blocks
from decant.task import Objective
from decant.training.adaptation import Adapt
from decant.training.callbacks import TrainMetrics

BATCH_NORM_MOMENTUM = 0.1
"""Share of a new batch in the running statistics."""
BatchNorm = nn.modules.batchnorm._BatchNorm


class Learner(pl.LightningModule, ABC):
    """Trains a network; a subclass defines the loss."""

    def __init__(
        self,
        network: PreTrainedModel,
        encoder: Batches,
        objective: Objective,
        hparams: Training,
        lr: float,
        adapt: Adapt,
        augment: Augment,
    ) -> None:
        super().__init__()
        self.network = network.train()  # from_pretrained gives it in eval mode: no dropout
        self.encoder, self.objective, self.settings, self.lr = encoder, objective, hparams, lr
        self.adapt, self.augment = adapt, augment
        self.validation_metrics = objective.validation_metrics(network.config.num_labels)
        self.blocks = blocks(network)
        self.frozen: set[int] | None = None
        self.train_metrics = TrainMetrics()
        frozen_norms = adapt.batch_norm == "frozen"
        self.frozen_norms = {norm for norm in batch_norms(network) if has_statistics(norm)} if frozen_norms else set()
        for norm in batch_norms(network):
            # MobileNets come with 0.997, TensorFlow's convention: here all but the last batch would be forgotten
            norm.momentum = BATCH_NORM_MOMENTUM

    @abstractmethod
    def terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Scalars to log; `loss` is minimised."""

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (B, C)."""
        return self.network(**self.encoder.inputs(batch)).logits

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits (B, C) of a further pass, for an augmentation."""
        return self(batch)

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss of the logits (B, C) of a further pass."""
        return self.mixed_terms(logits, batch)["loss"]

    def mixed_terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms; for rows that are mixtures of two, the terms of both, weighted by their shares."""
        terms = self.terms(logits, batch)
        if "partner" not in batch:
            return terms
        partner, share = batch["partner"], batch["share"]
        partner_terms = self.terms(logits, batch | {k: batch[k][partner] for k in ("target", "soft") if k in batch})
        return {k: share * terms[k] + (1 - share) * partner_terms[k] for k in terms}

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:  # noqa: D102
        batch = self.augment(batch)
        logits = self(batch)
        terms = self.mixed_terms(logits, batch)
        self.inspect(terms, index)
        extra = self.augment.extra(self, batch, logits, terms["loss"])
        terms |= extra | {"loss": terms["loss"] + sum(extra.values())}
        self.train_metrics.add(terms, len(batch["target"]))
        return terms["loss"]

    def inspect(self, terms: dict[str, torch.Tensor], index: int) -> None:
        """Log more about the terms of a batch than their values; default: nothing."""

    def validation_step(self, batch: Batch, index: int) -> None:  # noqa: D102
        logits = self(batch).float()
        self.validation_metrics.update(logits, batch["target"])
        loss = self.objective.loss(logits, batch["target"])
        self.log("validation/loss", loss, batch_size=len(batch["target"]), sync_dist=True)

    def on_validation_epoch_end(self) -> None:  # noqa: D102
        self.log_dict({f"validation/{k}": v for k, v in self.validation_metrics.compute().items()})
        self.validation_metrics.reset()

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Put batch normalisation of frozen blocks into evaluation mode: its statistics must not move either."""
        frozen = {b for b in range(len(self.blocks)) if self.lr_multiplier(b, self.global_step) == 0}
        if index == 0 or frozen != self.frozen:  # at 0: validation has switched everything to training mode
            self.frozen = frozen
            frozen_parameters = {p for b in frozen for p in self.blocks[b]}
            for norm in batch_norms(self.network):
                norm.train(norm not in self.frozen_norms and norm.weight not in frozen_parameters)

    def lr_multiplier(self, block: int, step: int) -> float:
        """Learning rate of a block relative to the schedule's; it depends on the step alone, so a resume keeps it."""
        return self.adapt.lr_multiplier(block, len(self.blocks), step / max(1, self.total_steps))

    @cached_property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return int(self.trainer.estimated_stepping_batches)

    def configure_optimizers(self) -> Any:  # noqa: D102
        groups: list[dict[str, Any]] = []
        schedules = []
        network_parameters = {p for block in self.blocks for p in block}
        loss_parameters = [p for p in self.parameters() if p not in network_parameters]
        for number, block in enumerate([*self.blocks, loss_parameters]):
            # biases and norms are scales, not weights: decaying them only shrinks the signal
            weights = [p for p in block if p.requires_grad and p.dim() > 1]
            scales = [p for p in block if p.requires_grad and p.dim() <= 1]
            for parameters, decay in ((weights, self.settings.weight_decay), (scales, 0.0)):
                if parameters:
                    groups.append({"params": parameters, "weight_decay": decay})
                    schedules.append(self.schedule(number))
        optimizer = AdamW(groups, lr=self.lr, fused=True)
        scheduler = LambdaLR(optimizer, schedules)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def schedule(self, block: int) -> Callable[[int], float]:
        """The learning rate of a block by step; the block after the last holds the parameters of the loss."""

        def relative_lr(step: int) -> float:
            lr = warmup_decay(step, self.total_steps, self.settings.warmup)
            return lr if block == len(self.blocks) else lr * self.lr_multiplier(block, step)

        return relative_lr

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: object, **__: object) -> None:
        """Clip by norm; Lightning refuses to with a fused optimizer, which is harmless without a gradient scaler.

        Frozen parameters do not count in the norm, and AdamW neither moves them nor keeps their gradients.
        """
        for parameter in (p for block in self.frozen or () for p in self.blocks[block]):
            parameter.grad = None
        torch.nn.utils.clip_grad_norm_(self.parameters(), self.settings.clip)


class SupervisedLearner(Learner):
    """Supervised training on hard labels."""

    def terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """The supervised loss alone."""
        return {"loss": self.objective.loss(logits, batch["target"], self.settings.label_smoothing)}


def batch_norms(network: nn.Module) -> list[BatchNorm]:
    """The layers of batch normalisation."""
    return [m for m in network.modules() if isinstance(m, BatchNorm)]


def has_statistics(norm: BatchNorm) -> bool:
    """Whether the running statistics of a layer come from data, not from initialisation."""
    mean, variance = norm.running_mean, norm.running_var
    return mean is not None and variance is not None and bool(mean.any() or (variance != 1).any())


def warmup_decay(step: int, total: int, warmup: float) -> float:
    """Learning rate at `step` of `total`, relative to its peak: linear warm-up, then linear decay to 0.

    The schedule of transformers starts at 0 and so loses the first step.
    """
    warmup_steps = max(1, round(warmup * total))
    return min((step + 1) / warmup_steps, max(0.0, (total - step) / max(1, total - warmup_steps)))
