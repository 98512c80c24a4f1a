"""The learner that a teacher helps: its terms, their weights over training, and what each contributes."""

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from decant.dataset.modality import Batch
from decant.distillation.online_teacher import Beside, aligned, output
from decant.loss import Loss, Output
from decant.training.learner import Learner

EVERY = 100
"""Steps between measurements of the gradient of each term: each costs a backward pass."""
LEAST = 0.01
"""Share of the gradient below which a term is not worth its place."""


class Distiller(Learner):
    """Trains a student on hard labels and on what a `Loss` says of the teacher's output.

    `teacher`: the one that runs beside it; none: its stored logits are in the batch.
    """

    def __init__(self, *args: Any, loss: Loss, teacher: Beside | None = None) -> None:
        super().__init__(*args)
        self.distillation, self.teacher = loss, teacher
        self.inside = tuple(n for n in loss.needs if n != "logits")
        self.outputs: tuple[Output, Output] | None = None
        """Of student and teacher, on the batch that was last passed on, where the teacher runs beside."""
        self.norms: dict[str, list[float]] = defaultdict(list)
        if "attention" in loss.needs and teacher is not None:
            for network in (self.network, teacher.network):
                network.set_attn_implementation("eager")  # the fast ones do not say what they attend to
            undropped(self.network)

    def setup(self, stage: str) -> None:
        """Show the loss both networks' outputs on two rows; before the optimizer asks for its parameters."""
        if self.teacher is None:
            return
        batch = self.augment(self.encoder.collate(self.trainer.datamodule.train[:2]))  # type: ignore[attr-defined]
        batch = {k: v.to(self.device) for k, v in batch.items()}
        self.network.eval()  # statistics of batches are not for this
        with torch.no_grad():
            student = output(self.network, self.encoder.inputs(batch), self.distillation.needs)
        self.network.train()
        teacher = self.teacher(batch, self.distillation.needs)
        self.distillation.bind(student, teacher, self.teacher.aligned and aligned(student, teacher))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (B, C); in training, with a teacher beside, `outputs` too."""
        if self.teacher is None or not self.training:
            return super().forward(batch)
        student = output(self.network, self.encoder.inputs(batch), self.inside)
        self.outputs = student, self.teacher(batch, self.distillation.needs)
        return student.logits

    def terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Every raw and weighted term, and their sum."""
        raw = {"hard": self.objective.loss(logits, batch["target"], self.knobs.label_smoothing)}
        if self.distillation.needs:
            student, teacher = self.outputs or (Output(logits), Output(batch["soft"]))
            raw |= self.distillation(student, teacher, batch["target"], self.objective)
        weights = self.distillation.weights(self.global_step / max(1, self.steps))
        weighted = {f"{k}_weighted": weights[k] * v for k, v in raw.items()}
        return {"loss": torch.stack(list(weighted.values())).sum(), **raw, **weighted}

    def examine(self, terms: dict[str, torch.Tensor], index: int) -> None:
        """Log the size of each weighted term's gradient, on the first batch of an epoch and on every `EVERY`th."""
        names = [k for k in terms if k.endswith("_weighted")]
        if index % EVERY or len(names) < 2:
            return
        parameters = [p for p in self.network.parameters() if p.requires_grad]  # not those of the loss
        for name in names:
            found = torch.autograd.grad(terms[name], parameters, retain_graph=True, allow_unused=True)
            norm = torch.stack([g.float().norm() for g in found if g is not None]).norm()
            self.norms[name].append(float(norm))
            self.means.add({f"{name.removesuffix('_weighted')}_gradient": norm}, 1)

    def idle(self) -> list[str]:
        """A warning for each term that contributes less than `LEAST` of all gradients, in size."""
        means = {k.removesuffix("_weighted"): float(np.mean(v)) for k, v in self.norms.items()}
        total = sum(means.values())
        weights = [self.distillation.weights(end) for end in (0.0, 1.0)]
        return [
            f"the term {name} contributes {100 * norm / total:.2f} % of the gradient, less than {LEAST:.0%}: raise its "
            f"weight in conf/loss/, or leave it out"
            for name, norm in means.items()
            if norm < LEAST * total and any(w[name] for w in weights)
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was measured."""
        checkpoint["norms"] = dict(self.norms)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on measuring."""
        self.norms |= checkpoint["norms"]

    def on_train_end(self) -> None:
        """Say which terms were idle."""
        if self.trainer.is_global_zero:
            for line in self.idle():
                print(f"warning: {line}", flush=True)


def undropped(network: PreTrainedModel) -> None:
    """No dropout of attention, in place: transformers gives it as dropped, most of whose distance is noise."""
    for module in network.modules():
        if "SelfAttention" in type(module).__name__ and isinstance(getattr(module, "dropout", None), nn.Dropout):
            module.dropout.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
