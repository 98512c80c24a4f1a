"""What is trained and how: a network under AdamW with warm-up and decay; a subclass says what the loss is."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from decant.adapt import Adapt
from decant.augment import Augment
from decant.config.schema import Training
from decant.dataset.modality import Batch, Batches
from decant.models.blocks import blocks
from decant.task import Objective
from decant.training.callbacks import Means

BATCH_NORM = 0.1
"""Share of a new batch in the running statistics."""


class Learner(pl.LightningModule, ABC):
    """Trains a network; a subclass says what the loss is."""

    def __init__(
        self,
        network: PreTrainedModel,
        encoder: Batches,
        objective: Objective,
        knobs: Training,
        lr: float,
        adapt: Adapt,
        augment: Augment,
    ) -> None:
        super().__init__()
        self.network = network.train()  # from_pretrained gives it in eval mode: no dropout
        self.encoder, self.objective, self.knobs, self.lr = encoder, objective, knobs, lr
        self.adapt, self.augment = adapt, augment
        self.measured = objective.validation_metrics(network.config.num_labels)
        self.blocks = blocks(network)
        self.frozen: set[int] | None = None
        self.means = Means()
        self.kept_norms = set(filter(has_statistics, norms(network))) if adapt.batch_norm == "frozen" else set()
        for norm in norms(network):
            # MobileNets come with 0.997, TensorFlow's meaning of the word: here it would forget all but the last batch
            norm.momentum = BATCH_NORM

    @abstractmethod
    def terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """What is logged, scalars; `loss` is what is minimised."""

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (B, C)."""
        return self.network(**self.encoder.inputs(batch)).logits

    def logits(self, batch: Batch) -> torch.Tensor:
        """For a further pass of an augmentation."""
        return self(batch)

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """What is minimised, for logits of a further pass."""
        return self.mixed(logits, batch)["loss"]

    def mixed(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms; where rows are mixtures of two, those of both, by their shares."""
        own = self.terms(logits, batch)
        if "partner" not in batch:
            return own
        rows = batch["partner"]
        other = self.terms(logits, batch | {k: batch[k][rows] for k in ("target", "soft") if k in batch})
        share = batch["share"]
        return {k: share * own[k] + (1 - share) * other[k] for k in own}

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:  # noqa: D102
        batch = self.augment(batch)
        logits = self(batch)
        terms = self.mixed(logits, batch)
        self.examine(terms, index)
        extra = self.augment.extra(self, batch, logits, terms["loss"])
        terms |= extra | {"loss": terms["loss"] + sum(extra.values())}
        self.means.add(terms, len(batch["target"]))
        return terms["loss"]

    def examine(self, terms: dict[str, torch.Tensor], index: int) -> None:
        """Log more of the terms of a batch than their values; default: nothing."""

    def validation_step(self, batch: Batch, index: int) -> None:  # noqa: D102
        logits = self(batch).float()
        self.measured.update(logits, batch["target"])
        loss = self.objective.loss(logits, batch["target"])
        self.log("validation/loss", loss, batch_size=len(batch["target"]), sync_dist=True)

    def on_validation_epoch_end(self) -> None:  # noqa: D102
        self.log_dict({f"validation/{k}": v for k, v in self.measured.compute().items()})
        self.measured.reset()

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Freeze what is not trained now: the statistics of its batch normalisation must not move either."""
        frozen = {b for b in range(len(self.blocks)) if self.pace(b, self.global_step) == 0}
        if index == 0 or frozen != self.frozen:  # at 0: validation has switched all to training mode
            self.frozen = frozen
            still = {p for b in frozen for p in self.blocks[b]}
            for norm in norms(self.network):
                norm.train(norm not in self.kept_norms and norm.weight not in still)

    def pace(self, block: int, step: int) -> float:
        """Learning rate of a block relative to the schedule's; the step alone decides, so it survives a resume."""
        return self.adapt.rate(block, len(self.blocks), step / max(1, self.steps))

    @cached_property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return int(self.trainer.estimated_stepping_batches)

    def configure_optimizers(self) -> Any:  # noqa: D102
        groups: list[dict[str, Any]] = []
        rates = []
        known = {p for block in self.blocks for p in block}
        others = [p for p in self.parameters() if p not in known]  # of the loss
        for number, block in enumerate([*self.blocks, others]):
            # biases and norms are scales, not weights: decaying them only shrinks the signal
            decayed = [p for p in block if p.requires_grad and p.dim() > 1]
            scales = [p for p in block if p.requires_grad and p.dim() <= 1]
            for parameters, decay in ((decayed, self.knobs.weight_decay), (scales, 0.0)):
                if parameters:
                    groups.append({"params": parameters, "weight_decay": decay})
                    rates.append(self.schedule(number))
        optimizer = AdamW(groups, lr=self.lr, fused=True)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, rates), "interval": "step"}}

    def schedule(self, block: int) -> Any:
        """The learning rate of a block by step; the block after the last is the loss's."""

        def relative(step: int) -> float:
            whole = rate(step, self.steps, self.knobs.warmup)
            return whole if block == len(self.blocks) else whole * self.pace(block, step)

        return relative

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clip by norm; Lightning refuses to, beside a fused optimizer, which without a scaler is harmless.

        What is frozen has no say in the norm, and AdamW neither moves it nor remembers its gradients.
        """
        for parameter in (p for block in self.frozen or () for p in self.blocks[block]):
            parameter.grad = None
        torch.nn.utils.clip_grad_norm_(self.parameters(), self.knobs.clip)


def norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The layers that keep statistics of batches."""
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def has_statistics(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    """Whether the statistics of a layer are of some data, not those it was made with."""
    mean, variance = norm.running_mean, norm.running_var
    return mean is not None and variance is not None and bool(mean.any() or (variance != 1).any())


def rate(step: int, total: int, warmup: float) -> float:
    """Learning rate at `step` of `total`, relative to its peak: up over the warm-up, then down to 0."""
    rising = max(1, round(warmup * total))
    return min((step + 1) / rising, max(0.0, (total - step) / max(1, total - rising)))
