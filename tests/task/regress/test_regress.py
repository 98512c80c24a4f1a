import pytest

from decant.core.errors import UserError
from decant.task.regress import Regress


@pytest.mark.parametrize(("low", "high"), [(0.0, None), (5.0, 0.0), (0.0, float("inf"))])
def test_bounds_that_are_no_range_are_refused(low: float, high: float | None) -> None:
    with pytest.raises(UserError, match="expected"):
        Regress(low=low, high=high)
