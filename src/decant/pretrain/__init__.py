"""Pretraining: how pretrain-load makes the teacher's weights itself, from a source task (Pan & Yang 2010)."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from decant.core.errors import UserError
from decant.task import Task

if TYPE_CHECKING:  # slow to start: prepare builds these components and trains nothing
    from decant.training.job import TrainingJob


def replace_weights(body: PreTrainedModel, folder: Path) -> None:
    """Write the weights of a backbone without its head to `folder`.

    The configuration there stays, and so do the weights of layers that `body` lacks.
    """
    weights, config = folder / "model.safetensors", folder / "config.json"
    before = load_file(weights) if weights.exists() else {}
    configuration = config.read_bytes()  # without the classes of the source task
    body.save_pretrained(folder)
    config.write_bytes(configuration)
    after = load_file(weights)
    if not before.keys() <= after.keys():
        save_file(before | after, weights, {"format": "pt"})  # transformers refuses a file that does not say so


def require_architecture(folder: Path, known: Mapping[str, str], part: str, name: str) -> None:
    """Nothing, where the architecture in `folder` is among those `known` to have a `part`.

    Raises:
        UserError: it is not.
    """
    architecture = json.loads((folder / "config.json").read_text())["model_type"]
    if architecture not in known:
        raise UserError(
            f"the teacher is of the architecture {architecture}, which has no {part}; choose another teacher than one "
            f"of {architecture}, or another pretrain than {name}"
        )


class Pretrain(ABC):
    """A way to learn from the source data; what it learns moves on to the target task, its head does not."""

    modality: str | None = None
    """`text`, `image`, or None: both."""
    needs_source: bool = True
    """Whether `prepare` makes tables of `use.source`."""
    labelled: bool = True
    """Whether the labels of the source data are used; without, its rows are pooled."""
    task: Task
    """What a target of the source data is."""

    @abstractmethod
    def train(self, job: "TrainingJob") -> None:
        """Train the backbone in `job.init_dir` on the source tables; its weights there are replaced."""
