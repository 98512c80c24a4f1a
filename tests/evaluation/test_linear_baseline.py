"""The linear baseline on the shipped data."""

from pathlib import Path

import pytest
from support.paths import ROOT

from decant import prepare
from decant.dataset.prepared import read_prepared
from decant.evaluation import linear_baseline
from decant.experiment.experiment import Experiment
from decant.task.classify import Classify
from decant.tracking.runs import Run


@pytest.mark.slow
def test_the_shipped_set_is_too_hard_for_the_linear_baseline(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    prepare.main(Experiment.load(["use.data=support"], ROOT), Run())
    prepared = read_prepared()
    inputs, target = linear_baseline.inputs_and_targets(prepared, "test")
    assert linear_baseline.fit(prepared, Classify().scoring).score(inputs, target) < 0.85
