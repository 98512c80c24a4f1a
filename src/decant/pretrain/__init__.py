"""Pretraining: how pretrain-load trains the teacher's weights itself, on a source task (Pan & Yang 2010)."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from decant.task import Task

if TYPE_CHECKING:  # slow to import: prepare builds these components and trains nothing
    from decant.training.job import TrainingJob


class Pretrain(ABC):
    """A way to learn from the source data; the trained backbone is used for the target task, its head is not."""

    modality: str | None = None
    """`text`, `image`, or None: both."""
    needs_source: bool = True
    """Whether `prepare` writes tables of `use.source`."""
    labelled: bool = True
    """Whether the labels of the source data are used; without, the rows of its splits are pooled."""
    task: Task
    """The task on the source data."""

    @abstractmethod
    def train(self, job: "TrainingJob") -> None:
        """Train the backbone in `job.init_dir` on the source tables, and replace its weights there."""
