"""Correlation of predicted numbers with their targets."""

from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from decant.task import Facts, Scatter, Scoring
from decant.task.regress.metrics import METRICS, correlation, moments, pearson


class RegressScoring(Scoring):
    """Pearson's correlation heads the report."""

    primary_metric = "pearson"
    metric_titles = {"pearson": "Pearson x 100", "spearman": "Spearman x 100"}
    agreement_sentence = "Pearson x 100 of both: {}"

    def linear_estimator(self, strength: float) -> Any:
        """Ridge regression."""
        return Ridge(alpha=1 / strength)

    def linear_logits(self, estimator: Any, inputs: Any) -> np.ndarray:
        """Predicted numbers."""
        return estimator.predict(inputs).astype(np.float32).reshape(-1, 1)

    def metrics(self, logits: np.ndarray, target: np.ndarray, labels: list[str], bins: int) -> Facts:
        """Pearson's and Spearman's correlation, in [-1, 1], and root mean squared error in the user's units."""
        return {name: metric(logits[:, 0], target) for name, metric in METRICS.items()}

    def sufficient_statistics(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(N, 6): see `moments`."""
        return moments(logits[:, 0], target)

    def primary_metric_from(self, sums: np.ndarray) -> np.ndarray:
        """Pearson's correlation."""
        return correlation(sums)

    def agreement(self, first: np.ndarray, second: np.ndarray) -> float:
        """Pearson's correlation of the two models' predictions."""
        return pearson(first[:, 0], second[:, 0])

    def picture(self, logits: np.ndarray, target: np.ndarray, labels: list[str]) -> Scatter:
        """Predictions against targets."""
        return Scatter(logits[:, 0], target)
