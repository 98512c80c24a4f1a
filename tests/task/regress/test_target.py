"""Numbers, read and checked."""

from pathlib import Path

import pandas as pd
import pytest

from decant.core.errors import UserError
from decant.data.table import Table
from decant.task.regress import Regress

REGRESS = Regress(low=0.0, high=5.0)
TARGET, OBJECTIVE, SCORING = REGRESS.target, REGRESS.objective, REGRESS.scoring


@pytest.mark.parametrize(
    ("cells", "message"),
    [(["1", "two"], "1 targets are no numbers .first: 'two'"), ([1.0, float("inf")], "no numbers"),
     ([1.0, 1e300], "or exceed 32 bits"),
     ([0.0, 5.5], r"1 targets are outside \[0, 5\] .first: 5.5")],
)  # fmt: skip
def test_targets_that_are_no_numbers_or_out_of_range_are_refused(cells: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TARGET.read(pd.Series(cells, dtype=object))


def test_numbers_come_through_a_table_as_they_were(tmp_path: Path) -> None:
    pd.DataFrame({"text": list("abcd"), "y": [1.1, 2.0, 4.0, 3.3]}).to_csv(tmp_path / "a.csv", index=False)
    target = Table(train=str(tmp_path / "a.csv"), input="text", target="y").load()["train"]["target"]
    assert TARGET.read(target).tolist() == [1.1, 2.0, 4.0, 3.3]


def test_the_same_target_everywhere_is_refused() -> None:
    assert "single target 3" in TARGET.problems({"train": pd.DataFrame({"target": [3.0, 3.0]})})[0]
