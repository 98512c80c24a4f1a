"""A number per row: one output, squared error, Pearson's and Spearman's correlation. A soft target is a number too.

An encoded target is a float32 in the user's own units, NaN for none; so is a prediction.
"""

import math

from decant.core.errors import UserError
from decant.task import Task
from decant.task.regress.objective import RegressObjective
from decant.task.regress.scoring import RegressScoring
from decant.task.regress.target import RegressTarget


class Regress(Task):
    """Regression.

    Args:
        low: smallest possible target; None: no bound.
        high: largest possible target. The loss is computed on targets divided by `high - low`, so that a learning rate
            and the weights of a distillation loss mean the same on every scale; without bounds, scale targets to
            about 1 yourself.
    """

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        if (low is None) != (high is None):
            raise UserError(f"low is {low} and high is {high}, expected two numbers, or null for both")
        if low is not None and high is not None and not -math.inf < low < high < math.inf:
            raise UserError(f"low is {low} and high is {high}, expected finite numbers, low below high")
        scale = 1.0 if low is None or high is None else float(high - low)
        super().__init__(RegressTarget(low, high), RegressObjective(scale), RegressScoring())
