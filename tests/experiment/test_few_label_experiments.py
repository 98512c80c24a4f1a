import pytest
from support.paths import ROOT

from decant.config.compose import experiment_overrides
from decant.experiment.experiment import Experiment


@pytest.mark.parametrize("name", ["banking77_few", "banking77_few_masked"])
def test_they_differ_in_pretraining_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANT_DATA", "elsewhere")
    experiment = Experiment.load(experiment_overrides(name, ROOT), ROOT)
    assert experiment.prepare.labels_per_class == 10
    assert experiment.use["pretrain"] == ("masked" if name.endswith("masked") else "none")
