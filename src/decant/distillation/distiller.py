"""The learner of a student: its loss terms, their weights over training, and what each contributes to the gradient."""

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from decant.dataset.modality import Batch
from decant.distillation.online_teacher import OnlineTeacher, are_aligned, network_output
from decant.loss import Loss, Output
from decant.training.learner import Learner

MEASURE_EVERY = 100
"""Steps between two measurements of each term's gradient: each takes a backward pass."""
MIN_GRADIENT_SHARE = 0.01
"""A term with a smaller share of the gradient has no effect worth its weight."""


class Distiller(Learner):
    """Trains a student on hard labels and on a `Loss` between its outputs and the teacher's.

    `teacher`: an online teacher; None: the batch holds the stored logits of a teacher.
    """

    def __init__(self, *args: Any, loss: Loss, teacher: OnlineTeacher | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.distillation_loss, self.teacher = loss, teacher
        self.state_needs = tuple(n for n in loss.needs if n != "logits")
        self.outputs: tuple[Output, Output] | None = None
        """The outputs of student and online teacher on the last batch."""
        self.gradient_norms: dict[str, list[float]] = defaultdict(list)
        if "attention" in loss.needs and teacher is not None:
            for network in (self.network, teacher.network):
                network.set_attn_implementation("eager")  # the fast implementations do not return attention
            disable_attention_dropout(self.network)

    def setup(self, stage: str) -> None:
        """Bind the loss to the outputs of both networks on two rows, before the optimizer asks for its parameters."""
        if self.teacher is None:
            return
        batch = self.augment(self.encoder.collate(self.trainer.datamodule.train[:2]))  # type: ignore[attr-defined]
        batch = {k: v.to(self.device) for k, v in batch.items()}
        self.network.eval()  # these rows must not change statistics of batch normalisation
        with torch.no_grad():
            student = network_output(self.network, self.encoder.inputs(batch), self.distillation_loss.needs)
        self.network.train()
        teacher = self.teacher(batch, self.distillation_loss.needs)
        self.distillation_loss.bind(student, teacher, self.teacher.aligned and are_aligned(student, teacher))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (B, C); in training with an online teacher, sets `outputs` too."""
        if self.teacher is None or not self.training:
            return super().forward(batch)
        student = network_output(self.network, self.encoder.inputs(batch), self.state_needs)
        self.outputs = student, self.teacher(batch, self.distillation_loss.needs)
        return student.logits

    def terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Every raw and weighted term, and their sum."""
        raw = {"hard": self.objective.loss(logits, batch["target"], self.settings.label_smoothing)}
        if self.distillation_loss.needs:
            student, teacher = self.outputs or (Output(logits), Output(batch["soft"]))
            raw |= self.distillation_loss(student, teacher, batch["target"], self.objective)
        weights = self.distillation_loss.weights(self.global_step / max(1, self.total_steps))
        weighted = {f"{k}_weighted": weights[k] * v for k, v in raw.items()}
        return {"loss": torch.stack(list(weighted.values())).sum(), **raw, **weighted}

    def inspect(self, terms: dict[str, torch.Tensor], index: int) -> None:
        """Log the norm of each weighted term's gradient, at the start of an epoch and every `MEASURE_EVERY` batches."""
        names = [k for k in terms if k.endswith("_weighted")]
        if index % MEASURE_EVERY or len(names) < 2:
            return
        parameters = [p for p in self.network.parameters() if p.requires_grad]  # without those of the loss
        for name in names:
            gradients = torch.autograd.grad(terms[name], parameters, retain_graph=True, allow_unused=True)
            norm = torch.stack([g.float().norm() for g in gradients if g is not None]).norm()
            self.gradient_norms[name].append(float(norm))
            self.train_metrics.add({f"{name.removesuffix('_weighted')}_gradient": norm}, 1)

    def ineffective_terms(self) -> list[str]:
        """A warning for each term whose share of the gradient is below `MIN_GRADIENT_SHARE`."""
        means = {k.removesuffix("_weighted"): float(np.mean(v)) for k, v in self.gradient_norms.items()}
        total = sum(means.values())
        weights = [self.distillation_loss.weights(progress) for progress in (0.0, 1.0)]
        return [
            f"the term {name} contributes {100 * norm / total:.2f} % of the gradient, less than "
            f"{MIN_GRADIENT_SHARE:.0%}: raise its weight in conf/loss/, or leave it out"
            for name, norm in means.items()
            if norm < MIN_GRADIENT_SHARE * total and any(w[name] for w in weights)
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Save the measured norms."""
        checkpoint["gradient_norms"] = dict(self.gradient_norms)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the measured norms."""
        self.gradient_norms |= checkpoint["gradient_norms"]

    def on_train_end(self) -> None:
        """Warn of terms without effect."""
        if self.trainer.is_global_zero:
            for warning in self.ineffective_terms():
                print(f"warning: {warning}", flush=True)


def disable_attention_dropout(network: PreTrainedModel) -> None:
    """Set the dropout of attention to 0, in place: transformers returns attention after it, mostly noise then."""
    for module in network.modules():
        if "SelfAttention" in type(module).__name__ and isinstance(getattr(module, "dropout", None), nn.Dropout):
            module.dropout.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
