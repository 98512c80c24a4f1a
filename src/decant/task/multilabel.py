"""Any number of labels of several: a sigmoid each, binary cross-entropy, micro and macro F1.

A soft target is a probability for each label.
"""

import math
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelF1Score
from torchmetrics.functional.classification import binary_calibration_error
from transformers import PreTrainedModel

from decant.adapt import Adapt
from decant.core.errors import UserError, require
from decant.models import directory
from decant.task import Tables, Task

SEPARATOR = ";"
"""Between the names of a row, where a table holds text; alone it says that the row has no label."""
MOST_FOLDS = 10
"""Groups of at least so many rows are kept apart in cross-validation."""


class F1(MultilabelF1Score):
    """F1 of logits (B, C): torchmetrics would take a batch of them that lies in [0, 1] for probabilities."""

    def __init__(self, labels: int, average: Literal["micro", "macro"], cut: float) -> None:
        super().__init__(labels, average=average)
        self.cut = cut

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch of logits (B, C) and targets (B, C)."""
        super().update((preds > self.cut).int(), target)


class MultiLabel(Task):
    """Multi-label classification; a target is C zeros and ones, all -1 for none.

    Args:
        threshold: probability above which a label is given, in (0, 1).
        rare: labels with fewer than `min_rows` rows in train: `refuse` them, or `drop` them from the targets of
            every split (then they count neither for nor against a model).
        min_rows: 1 or more.
    """

    monitor = "micro_f1"
    columns = {"micro_f1": "micro F1 %", "macro_f1": "macro F1 %", "calibration_error": "calibration error %"}
    agreeing = "gives the same labels to {} % of test"

    def __init__(self, threshold: float, rare: str = "refuse", min_rows: int = 2) -> None:
        self.threshold, self.min_rows, self.drops = threshold, min_rows, rare == "drop"
        require(self, threshold=(0 < threshold < 1, "in (0, 1)"), min_rows=(min_rows >= 1, "1 or more"))
        if rare not in ("refuse", "drop"):
            raise UserError(f"rare is {rare!r}, expected refuse or drop")
        self.cut = math.log(threshold / (1 - threshold))
        """The threshold as a logit."""

    def read(self, target: "pd.Series[Any]") -> "pd.Series[Any]":
        """Sorted tuples of names, from lists or from text split at `SEPARATOR`; a blank text is none."""
        return pd.Series([names(cell) for cell in target], target.index, dtype=object)

    def problems(self, tables: Tables) -> list[str]:
        """No label to learn, labels on every row, or labels that train lacks."""
        train = tables["train"]["target"]
        if len(kept := self.labels(train)) < 2:
            least = f" with {self.min_rows} rows or more" if self.drops else ""
            return [f"train has {len(kept)} labels{least}, expected two or more; of a single one, use task classify"]
        found = counts(train)
        problems = [f"every row of train has the label {n!r}; there is nothing to learn of it: remove it"
                    for n in kept if found[n] == len(train)]  # fmt: skip
        for split in ("validation", "test") if not self.drops else ():
            if split in tables and (new := set(counts(tables[split]["target"])) - set(kept)):
                problems.append(
                    f"{split} has labels that train lacks: {', '.join(map(repr, sorted(new)))}; no model can learn "
                    "them: add rows to train, remove them, or set rare: drop in conf/task/"
                )
        return problems

    def rare(self, train: pd.DataFrame) -> list[str]:
        """Labels with fewer rows than `min_rows`, unless they are dropped."""
        rare = sorted(n for n, rows in counts(train["target"]).items() if rows < self.min_rows)
        if self.drops or not rare:
            return []
        return [
            f"train has fewer than {self.min_rows} rows of {len(rare)} labels ({', '.join(map(repr, rare[:10]))}"
            f"{', ...' if len(rare) > 10 else ''}); add rows, remove them, or set rare: drop in conf/task/"
        ]

    def strata(self, target: "pd.Series[Any]") -> "pd.Series[Any] | None":
        """The rarest label of each row ("": none), so that a cut does not take all rows of one.

        Groups that are too small join the largest. As read, those are single rows, which cannot stand on two
        sides; as encoded, those of fewer rows than there are folds at most.
        """
        encoded = isinstance(target.iloc[0], np.ndarray)
        rows = target.map(lambda row: tuple(map(str, np.flatnonzero(row == 1)))) if encoded else target
        found = counts(rows)
        rarest = rows.map(lambda row: min(row, key=lambda n: (found[n], n), default=""))
        sizes = rarest.value_counts()
        return rarest.where(rarest.map(sizes) >= (MOST_FOLDS if encoded else 2), sizes.index[0])

    def labels(self, target: "pd.Series[Any]") -> list[str]:
        """Sorted names; those with too few rows are left out, if they are to be dropped."""
        return sorted(n for n, rows in counts(target).items() if not self.drops or rows >= self.min_rows)

    def encode(self, target: "pd.Series[Any]", labels: list[str]) -> list[Any]:
        """(C,) int8: 1 for each label of the row that is in `labels`; all -1: not known."""
        places = np.array(labels, dtype=object)
        unknown = np.full(len(labels), -1, np.int8)
        return [np.isin(places, row).astype(np.int8) if isinstance(row, tuple) else unknown for row in target]

    def describe(self, read: "pd.Series[Any]", target: "pd.Series[Any]", labels: list[str]) -> dict[str, Any]:
        """Rows of each label, rows without any, and how often each dropped label stood there."""
        hot = np.stack(target.to_list())
        lost = counts(row for row in read if isinstance(row, tuple))
        return {
            "classes": dict(zip(labels, (hot == 1).sum(0).tolist(), strict=True)),
            "without_labels": int((hot == 0).all(1).sum()),
            "dropped_labels": {n: rows for n, rows in lost.items() if n not in set(labels)},
        }

    def model(self, folder: Path, labels: list[str], auto: Any, adapt: Adapt) -> PreTrainedModel:
        """See `Task.model`; the threshold stands in its config as `decision_threshold`, for a server."""
        names = dict(enumerate(labels))
        head = {"id2label": names, "label2id": {v: k for k, v in names.items()}, "num_labels": len(names)}
        network = directory.with_head(auto, folder, adapt, **head, problem_type="multi_label_classification")
        network.config.decision_threshold = self.threshold
        return network

    def start(self, network: PreTrainedModel, target: np.ndarray, soft: np.ndarray | None) -> None:
        """The bias is the teacher's mean logit, or the log-odds of each label (Lin et al. 2017, arXiv:1708.02002, 4.1).

        From a bias of 0, half of all labels, the first steps all pull the same way, and can leave nothing else.
        """
        *_, bias = network.parameters()
        known = target[(target >= 0).all(1)]
        share = (known.sum(0) + 1) / (len(known) + 2)
        if bias.shape == share.shape:
            bias.data.copy_(torch.from_numpy(np.log(share / (1 - share)) if soft is None else soft.mean(0)))

    def loss(self, logits: torch.Tensor, target: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Binary cross-entropy, averaged over all B rows (also the ones without labels) and C labels.

        Smoothing spreads its share over yes and no.
        """
        goal = target.clamp(min=0).float() * (1 - smoothing) + smoothing / 2
        each = F.binary_cross_entropy_with_logits(logits.float(), goal, reduction="none")
        return (each * (target >= 0)).sum() / target.numel()

    def divergence(self, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """T² KL(teacher / T || student / T) between Bernoulli distributions, averaged over rows and labels.

        The average over labels, and not their sum, gives it the size of `loss`.
        """
        s, t = student.float() / temperature, teacher.float() / temperature
        yes = t.sigmoid() * (F.logsigmoid(t) - F.logsigmoid(s))
        no = (-t).sigmoid() * (F.logsigmoid(-t) - F.logsigmoid(-s))
        return temperature**2 * (yes + no).mean()

    def metrics(self, classes: int) -> MetricCollection:
        """See `Task.metrics`."""
        return MetricCollection(
            {"micro_f1": F1(classes, "micro", self.cut), "macro_f1": F1(classes, "macro", self.cut)}
        )

    def standard_error(self, score: float, rows: int) -> float:
        """Of a share of the rows; rough, as F1 is none: rows with several labels make it smaller."""
        return math.sqrt(score * (1 - score) / rows)

    def ensemble(self, logits: np.ndarray) -> np.ndarray:
        """Log-odds of the mean probability (Lakshminarayanan et al. 2017, arXiv:1612.01474)."""
        each = torch.from_numpy(logits).double()
        odds = F.logsigmoid(each).logsumexp(0) - F.logsigmoid(-each).logsumexp(0)
        return odds.float().numpy()

    def linear(self, strength: float) -> Any:
        """Logistic regression for each label; its rows weigh as much as those without, else it is rarely given.

        The dual is ten times as fast on words, and there may be many labels; its tolerance is still a tenth of
        LIBLINEAR's own.
        """
        options = {"solver": "liblinear", "dual": True, "tol": 0.01, "max_iter": 1000, "random_state": 0}
        return OneVsRestClassifier(LogisticRegression(C=strength, class_weight="balanced", **options))

    def linear_logits(self, estimator: Any, inputs: Any) -> np.ndarray:
        """Log-odds, as if each label stood on half of the rows: fit for a decision, too high for a probability."""
        found = estimator.decision_function(inputs).astype(np.float32)
        return found.reshape(len(found), -1)  # of one label it is flat

    def scores(self, logits: np.ndarray, target: np.ndarray, labels: list[str], bins: int) -> dict[str, Any]:
        """Micro, macro and per-class precision, recall and F1, subset accuracy, calibration error, all in [0, 1].

        Subset accuracy: rows with all labels right. The calibration error is the expected one (Guo et al. 2017,
        arXiv:1706.04599) of the probability of each label of each row, over `bins` bins.
        """
        hits = self._hits(logits, target)
        each = figures(hits.sum(0))
        error = binary_calibration_error(
            torch.from_numpy(logits).double().sigmoid().flatten(), torch.from_numpy(target).flatten().int(), bins
        )
        return {
            **{f"micro_{n}": float(v) for n, v in figures(hits.sum((0, 1))).items()},
            **{f"macro_{n}": float(v.mean()) for n, v in each.items()},
            "subset_accuracy": float(((logits > self.cut) == target).all(1).mean()),
            "calibration_error": float(error),
            "per_class": {label: {n: float(v[i]) for n, v in each.items()} for i, label in enumerate(labels)},
        }

    def sums(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """True positives, false positives, false negatives."""
        return self._hits(logits, target).sum(1)

    def headline(self, sums: np.ndarray) -> np.ndarray:
        """Micro F1."""
        return figures(sums)["f1"]

    def agreement(self, first: np.ndarray, second: np.ndarray) -> float:
        """Share of rows with the same labels, all of them."""
        return float(((first > self.cut) == (second > self.cut)).all(1).mean())

    def plots(self, logits: np.ndarray, target: np.ndarray, labels: list[str], folder: Path) -> None:
        """F1 of each label, the most frequent first."""
        from decant.evaluation import plots  # matplotlib takes a second to import

        f1 = figures(self._hits(logits, target).sum(0))["f1"]
        order = np.argsort(-target.sum(0, dtype=int), kind="stable")
        plots.per_label([f"{labels[i]} ({target[:, i].sum(dtype=int)})" for i in order], 100 * f1[order], folder)

    def _hits(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(N, C, 3): true positive, false positive, false negative."""
        given, right = logits > self.cut, target == 1
        return np.stack([given & right, given & ~right, ~given & right], axis=2).astype(int)


def names(cell: Any) -> tuple[str, ...] | None:
    """Sorted names in the cell of a table; none where it is missing or blank."""
    if isinstance(cell, list | tuple | set | np.ndarray):
        return tuple(sorted({str(n).strip() for n in cell if n is not None} - {""}))
    if cell is None or pd.isna(cell) or not str(cell).strip():
        return None
    return tuple(sorted({n.strip() for n in str(cell).split(SEPARATOR)} - {""}))


def counts(target: Any) -> "Counter[str]":
    """Rows of each label."""
    return Counter(n for row in target for n in row)


def figures(hits: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 (...) from true positives, false positives, false negatives (..., 3); 0 for 0 / 0."""
    right, wrong, missed = np.moveaxis(hits, -1, 0)
    shares = {"precision": (right, right + wrong), "recall": (right, right + missed)}
    shares["f1"] = (2 * right, 2 * right + wrong + missed)
    return {name: part / np.maximum(whole, 1e-12) for name, (part, whole) in shares.items()}
