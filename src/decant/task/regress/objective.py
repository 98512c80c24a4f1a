"""One output and squared error."""

import math

import torch
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat

from decant.task import Objective
from decant.task.regress.metrics import METRICS, ArrayMetric


class DatasetMetric(Metric):
    """A metric of all predictions and targets together, since none of `METRICS` is an average over batches.

    torchmetrics' PearsonCorrCoef and SpearmanCorrCoef sum in float32 and give NaN for constant predictions. The score
    that chooses the epoch has to equal the report's: float64, 0 for constant predictions, whatever the batches.
    """

    predictions: list[torch.Tensor]
    targets: list[torch.Tensor]

    def __init__(self, metric: ArrayMetric) -> None:
        super().__init__()
        self.metric = metric
        self.add_state("predictions", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, logits: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch of predictions (B, 1) and targets (B,)."""
        self.predictions.append(logits[:, 0].float())
        self.targets.append(target)

    def compute(self) -> torch.Tensor:
        """The metric, a scalar."""
        # after a sync between devices a state is one tensor
        predictions, targets = (dim_zero_cat(s).cpu().numpy() for s in (self.predictions, self.targets))
        return torch.tensor(self.metric(predictions, targets))


class RegressObjective(Objective):
    """Squared error in units of `logit_scale`; epochs are chosen by Pearson's correlation."""

    problem_type = "regression"
    monitor = "pearson"
    allows_label_smoothing = False

    def __init__(self, logit_scale: float) -> None:
        self.logit_scale = logit_scale

    def loss(self, logits: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        """Squared error in units of `logit_scale`, averaged over all B rows (also the ones without a target).

        Raises:
            ValueError: label smoothing, which is for classes; shapes other than (B, 1) and (B,): broadcasting would
                train nonsense.
        """
        if label_smoothing:
            raise ValueError(f"a number cannot be smoothed, found smoothing {label_smoothing}")
        if target.dim() != 1 or logits.shape != (len(target), 1):
            raise ValueError(f"expected (B, 1) and (B,), found {tuple(logits.shape)} and {tuple(target.shape)}")
        known = ~target.isnan()
        # NaN is replaced first: the gradient of 0 times NaN is NaN
        errors = (logits[:, 0].float() - target.nan_to_num()) / self.logit_scale
        return (errors.square() * known).sum() / len(target)

    def divergence(self, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """Squared distance in units of `logit_scale`, averaged over rows; a temperature has no meaning for a number."""
        return ((student.float() - teacher.float()) / self.logit_scale).square().mean()

    def validation_metrics(self, classes: int) -> MetricCollection:
        """Pearson's and Spearman's correlation, and root mean squared error."""
        return MetricCollection({name: DatasetMetric(metric) for name, metric in METRICS.items()})

    def standard_error(self, score: float, rows: int) -> float:
        """Of the correlation of numbers that are about normal: (1 - r²) / sqrt(n - 1)."""
        return (1 - score**2) / math.sqrt(max(rows - 1, 1))
