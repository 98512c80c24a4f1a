import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.paths import ROOT

from decant.config.compose import ROLES, composed
from decant.config.schema import SECTIONS
from decant.core.errors import UserError
from decant.experiment.components import INTERFACES
from decant.experiment.experiment import Experiment


def test_an_experiment_has_its_components_by_role_and_its_values_by_section() -> None:
    experiment = Experiment.load(["distill.lr=1e-4", "seed=7"], ROOT)
    for role, kind in ROLES.items():
        assert isinstance(getattr(experiment, role), INTERFACES[kind])
    for name, section in SECTIONS.items():
        assert isinstance(getattr(experiment, name), section)
        assert getattr(experiment, name).model_dump() == experiment.config[name]
    assert experiment.distill.lr == 1e-4
    assert isinstance(experiment.distill.epochs, int)
    assert experiment.seed == 7
    assert experiment.use["student"] == "minilm_4"


def test_the_recorded_config_is_the_composed_one() -> None:
    assert Experiment.load(["trainer=cpu"], ROOT).config == composed(["trainer=cpu"], ROOT)


def test_an_experiment_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Experiment.load([], ROOT).seed = 1  # type: ignore[misc]


BAD = [
    ("distill.lr=fast", r"distill.lr is 'fast', expected a number above 0"),
    ("loss.temperature=-1", r"conf/loss/kd.yaml: temperature is -1"),
    ("+loss.temprature=2", r"'temprature', which nothing reads \(did you mean 'temperature'\?\)"),
    ("+distill.epoch=2", r"'epoch', which nothing reads \(did you mean 'epochs'\?\)"),
    ("distill.epoch=2", r"'epoch', which nothing reads \(did you mean 'epochs'\?\)"),
    ("fine_tune.warmup=1.5", r"fine_tune.warmup is 1.5, expected a number in \[0, 1\)"),
    ("prepare.test=0", r"prepare.test is 0"),
    ("teacher.revision=main", r"conf/backbone/distilbert.yaml.*40 hexadecimal"),
    ("+data.leaks=ignore", r"leaks is 'ignore', expected one of: refuse, drop"),
    ("seed=many", r"seed is 'many'"),
    ("seed=4294967296", r"seed is 4294967296, expected a whole number from 0 to 2\^32 - 1"),
    ("seed=-1", r"seed is -1"),
]


@pytest.mark.parametrize(("override", "message"), BAD, ids=[b[0] for b in BAD])
def test_bad_values_are_named_with_what_was_expected(override: str, message: str) -> None:
    extra = ["use.teacher=distilbert"] if "revision" in override else []
    with pytest.raises(UserError) as caught:
        Experiment.load([*extra, override], ROOT)
    assert re.search(message, str(caught.value), re.DOTALL)


def test_all_problems_are_raised_together(project: Path) -> None:
    params = OmegaConf.load(project / "params.yaml")
    params.distill.epoch = 3
    params.evaluate.bins = 0
    params.fine_tune.lr = -1
    params.seed = -1
    OmegaConf.save(params, project / "params.yaml")
    with pytest.raises(UserError) as caught:
        Experiment.load(["loss.temperature=-1"], project)
    assert len(caught.value.problems) == 5
