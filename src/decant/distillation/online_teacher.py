"""A teacher that runs beside its student: for what is not stored, its states, and its answer to augmented inputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Encoder
from decant.dataset.prepared import Prepared
from decant.loss import Output
from decant.models import directory, predictions

READS_TOKENS = "input_ids"


class Beside:
    """The frozen teacher in `folder`, in evaluation mode, for a student that reads with `encoder`.

    No module: it is in no state, no optimizer, no device of its student's. `aligned`: it reads the tokens (or pixels)
    of the student's batch, translated to its own vocabulary; else what its own tokenizer makes of the whole row.

    Raises:
        UserError: several teachers, whose states have no mean; a teacher of other data.
    """

    def __init__(self, folder: Path, prepared: Prepared, encoder: Encoder) -> None:
        if not (folder / "model.safetensors").exists():
            raise UserError(
                "fine_tune.folds or fine_tune.seeds made several teachers, and only their stored predictions can be "
                "combined; choose a loss of logits and distill.consistent false, or one teacher"
            )
        predictions.verify(folder, "train", prepared.digests["train"])
        self.network, _ = directory.load(folder, prepared.modality)
        self.network.requires_grad_(False)
        # what the student reads may be more than the teacher learned from, not more than it can read
        self.encoder = prepared.modality.encoder(folder, getattr(encoder.processor, "model_max_length", None))
        self.table = translation(encoder, self.encoder)
        self.own: list[Any] = []
        if self.table is None and prepared.modality.name == "text":
            parts = [prepared.frames[s] for s in ("train", "unlabelled") if s in prepared.frames]
            self.own = self.encoder.encode(pd.concat(parts))

    @property
    def aligned(self) -> bool:
        """See the class."""
        return not self.own

    @torch.no_grad()
    def __call__(self, batch: Batch, needs: Sequence[str]) -> Output:
        """What the teacher gives for the student's batch, of `needs`."""
        device = batch["target"].device
        self.network.to(device).eval()
        return output(self.network, self.inputs(batch, device), needs)

    def inputs(self, batch: Batch, device: torch.device) -> Batch:
        """The arguments of the teacher."""
        if self.own:
            mine = self.encoder.stack([self.own[i] for i in batch["number"].tolist()])
            return self.encoder.inputs({k: v.to(device) for k, v in mine.items()})
        if self.table is not None:
            batch = batch | {READS_TOKENS: self.table.to(device)[batch[READS_TOKENS]]}
        return self.encoder.inputs(batch)


def output(network: PreTrainedModel, inputs: Batch, needs: Sequence[str]) -> Output:
    """A pass of `network`, with what is needed beside the logits.

    Raises:
        UserError: the network has none of it.
    """
    flags = {"output_hidden_states": "hidden" in needs, "output_attentions": "attention" in needs}
    found = network(**inputs, **{k: v for k, v in flags.items() if v})
    states = {"hidden": found.get("hidden_states"), "attention": found.get("attentions")}
    for name in (n for n in needs if n != "logits"):
        if not states[name] or states[name][0] is None:
            raise UserError(
                f"{type(network).__name__} gives no {name}, which the loss compares; choose a loss of logits, or "
                "another teacher or student"
            )
    chosen = {k: tuple(v) for k, v in states.items() if k in needs and v is not None}
    return Output(found.logits, mask=inputs.get("attention_mask"), **chosen)


def aligned(student: Output, teacher: Output) -> bool:
    """Whether states of both can be compared place by place: tokens as many, or maps of whatever grid."""
    if student.attention and student.attention[0].shape[2:] != teacher.attention[0].shape[2:]:
        return False
    if not student.hidden:
        return True
    first, second = student.hidden[0], teacher.hidden[0]
    return first.dim() == second.dim() and (first.dim() == 4 or first.shape[1] == second.shape[1])


def translation(student: Encoder, teacher: Encoder) -> torch.Tensor | None:
    """The teacher's id of each token of the student's (V,); none: of images, or of tokens that the teacher lacks.

    A vocabulary that was cut down holds a part of the teacher's tokens, and cuts other words into smaller ones.
    """
    if not hasattr(student.processor, "get_vocab"):
        return None
    known = teacher.processor.get_vocab()
    mine = student.processor.get_vocab()
    kinds = [type(e.processor.backend_tokenizer.model) for e in (student, teacher)]
    if kinds[0] is not kinds[1] or not set(mine) <= set(known):
        return None
    table = torch.zeros(max(mine.values()) + 1, dtype=torch.long)
    for token, number in mine.items():
        table[number] = known[token]
    return table
