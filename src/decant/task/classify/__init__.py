"""One class per row: softmax head, cross-entropy, accuracy and macro F1. A soft target is a distribution over classes.

An encoded target is the index of a class, or -1 for none.
"""

from decant.task import Task
from decant.task.classify.objective import ClassifyObjective
from decant.task.classify.scoring import ClassifyScoring
from decant.task.classify.target import ClassifyTarget


class Classify(Task):
    """Single-label classification."""

    def __init__(self) -> None:
        super().__init__(ClassifyTarget(), ClassifyObjective(), ClassifyScoring())
