"""Any number of labels per row: a sigmoid for each, binary cross-entropy, micro and macro F1.

An encoded target is (C,) int8 of zeros and ones, all -1 for none. A soft target is a probability for each label.
"""

from decant.core.errors import require
from decant.task import Task
from decant.task.multilabel.objective import MultiLabelObjective
from decant.task.multilabel.scoring import MultiLabelScoring
from decant.task.multilabel.target import MultiLabelTarget


class MultiLabel(Task):
    """Multi-label classification.

    Args:
        threshold: probability above which a label is predicted, in (0, 1).
        rare: what to do with labels of fewer than `min_rows` rows in train: `refuse` them, or `drop` them from the
            targets of every split (then they count neither for nor against a model).
        min_rows: 1 or more.
    """

    def __init__(self, threshold: float, rare: str = "refuse", min_rows: int = 2) -> None:
        self.threshold, self.rare, self.min_rows = threshold, rare, min_rows
        require(
            self,
            threshold=(0 < threshold < 1, "in (0, 1)"),
            rare=(rare in ("refuse", "drop"), "refuse or drop"),
            min_rows=(min_rows >= 1, "1 or more"),
        )
        target = MultiLabelTarget(min_rows, drop_rare=rare == "drop")
        super().__init__(target, MultiLabelObjective(threshold), MultiLabelScoring(threshold))
