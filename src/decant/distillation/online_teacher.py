"""A teacher that runs with its student: for hidden states and attention, which are not stored, and augmented inputs."""

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

TOKEN_INPUT = "input_ids"


class OnlineTeacher:
    """The frozen teacher in `folder`, in evaluation mode, for a student whose inputs `encoder` makes.

    It is no module, so it is in no state dict, no optimizer, and not moved with the student. Where `aligned`, it reads
    the tokens (or pixels) of the student's batch, translated to its own vocabulary; otherwise what its own tokenizer
    makes of the whole row.

    Raises:
        UserError: several teachers, whose states cannot be averaged; a teacher of other data.
    """

    def __init__(self, folder: Path, prepared: Prepared, encoder: Encoder) -> None:
        if not (folder / "model.safetensors").exists():
            raise UserError(
                "fine_tune.folds or fine_tune.seeds made several teachers, and only their stored predictions can be "
                "combined; choose a loss of logits and distill.online_teacher false, or one teacher"
            )
        predictions.verify(folder, "train", prepared.digests["train"])
        self.network, _ = directory.load(folder, prepared.modality)
        self.network.requires_grad_(False)
        # a student may read more tokens than the teacher was trained on, but not more than it can read
        self.encoder = prepared.modality.encoder(folder, getattr(encoder.processor, "model_max_length", None))
        self.token_map = token_map(encoder, self.encoder)
        self.items: list[Any] = []
        """The rows as the teacher's own tokenizer encodes them, where it is not aligned."""
        if self.token_map is None and prepared.modality.name == "text":
            frames = [prepared.frames[s] for s in ("train", "unlabelled") if s in prepared.frames]
            self.items = self.encoder.encode(pd.concat(frames))

    @property
    def aligned(self) -> bool:
        """See the class."""
        return not self.items

    @torch.no_grad()
    def __call__(self, batch: Batch, needs: Sequence[str]) -> Output:
        """The outputs of the teacher, as far as `needs` asks for them, for the student's batch."""
        device = batch["target"].device
        self.network.to(device).eval()
        return network_output(self.network, self.inputs(batch, device), needs)

    def inputs(self, batch: Batch, device: torch.device) -> Batch:
        """The arguments of the teacher."""
        if self.items:
            teacher_batch = self.encoder.stack([self.items[i] for i in batch["number"].tolist()])
            return self.encoder.inputs({k: v.to(device) for k, v in teacher_batch.items()})
        if self.token_map is not None:
            batch = batch | {TOKEN_INPUT: self.token_map.to(device)[batch[TOKEN_INPUT]]}
        return self.encoder.inputs(batch)


def network_output(network: PreTrainedModel, inputs: Batch, needs: Sequence[str]) -> Output:
    """A forward pass of `network`, with the hidden states and attention that `needs` asks for.

    Raises:
        UserError: the network does not return them.
    """
    flags = {"output_hidden_states": "hidden" in needs, "output_attentions": "attention" in needs}
    output = network(**inputs, **{k: v for k, v in flags.items() if v})
    states = {"hidden": output.get("hidden_states"), "attention": output.get("attentions")}
    for name in (n for n in needs if n != "logits"):
        if not states[name] or states[name][0] is None:
            raise UserError(
                f"{type(network).__name__} gives no {name}, which the loss compares; choose a loss of logits, or "
                "another teacher or student"
            )
    needed = {k: tuple(v) for k, v in states.items() if k in needs and v is not None}
    return Output(output.logits, mask=inputs.get("attention_mask"), **needed)


def are_aligned(student: Output, teacher: Output) -> bool:
    """Whether states of both can be compared position by position: equally many tokens, or maps of any grid."""
    if student.attention and student.attention[0].shape[2:] != teacher.attention[0].shape[2:]:
        return False
    if not student.hidden:
        return True
    first, second = student.hidden[0], teacher.hidden[0]
    return first.dim() == second.dim() and (first.dim() == 4 or first.shape[1] == second.shape[1])


def token_map(student: Encoder, teacher: Encoder) -> torch.Tensor | None:
    """The teacher's id of each token of the student's vocabulary (V,).

    None for images, and where the teacher lacks tokens. A pruned vocabulary holds a part of the teacher's tokens, and
    splits other words into smaller ones.
    """
    if not hasattr(student.processor, "get_vocab"):
        return None
    teacher_ids, student_ids = (e.processor.get_vocab() for e in (teacher, student))
    kinds = [type(e.processor.backend_tokenizer.model) for e in (student, teacher)]
    if kinds[0] is not kinds[1] or not set(student_ids) <= set(teacher_ids):
        return None
    ids = torch.zeros(max(student_ids.values()) + 1, dtype=torch.long)
    for token, number in student_ids.items():
        ids[number] = teacher_ids[token]
    return ids
