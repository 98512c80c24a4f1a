import pytest

from decant.core.errors import UserError
from decant.task.multilabel import MultiLabel


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.0}, {"threshold": 0.5, "rare": "x"}, {"threshold": 0.5, "min_rows": 0}]
)
def test_options_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match="expected"):
        MultiLabel(**wrong)
