import shutil
from functools import cache
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from support.experiments import COMPONENTS, NAMES, choices, config_of, yaml_values
from support.paths import ROOT

from decant.config.compose import PARAMS, ROLES, Values, composed, experiment_overrides, flatten
from decant.core.errors import UserError

TRAINERS = sorted(file.stem for file in (ROOT / "conf/trainer").glob("*.yaml"))
EXPERIMENTS = sorted(file.stem for file in (ROOT / "conf/experiment").glob("*.yaml"))


@cache
def with_components(number: int) -> Values:
    """The config with component `number` in every role, composed once for all roles."""
    return composed(choices(number), ROOT)


# --- the config holds what the files say, and nothing else: that is why dvc.yaml names no file of decant.config


@pytest.mark.parametrize(("role", "name"), COMPONENTS)
def test_the_config_of_a_component_is_exactly_its_yaml(role: str, name: str) -> None:
    config = with_components(NAMES[role].index(name))
    assert config[role] == yaml_values(ROOT / "conf" / ROLES[role] / f"{name}.yaml")
    assert config["use"][role] == name


@pytest.mark.parametrize("name", TRAINERS)
def test_the_config_of_a_trainer_is_exactly_its_yaml(name: str) -> None:
    assert composed([f"trainer={name}"], ROOT)["trainer"] == yaml_values(ROOT / f"conf/trainer/{name}.yaml")


def test_the_sections_are_exactly_those_of_params_yaml() -> None:
    config, params = composed([], ROOT), yaml.safe_load((ROOT / "params.yaml").read_text())
    assert {key: config[key] for key in params} == params
    assert config.keys() - params.keys() == {*ROLES, "trainer"}
    assert params.keys() == {"seed", "use", *PARAMS}


def test_an_override_changes_its_value_and_no_other() -> None:
    before, after = composed([], ROOT), composed(["distill.lr=1e-4"], ROOT)
    assert after["distill"].pop("lr") == 1e-4
    assert before["distill"].pop("lr") != 1e-4
    assert after == before


def test_components_and_values_are_merged_as_tests_without_hydra_do() -> None:
    values = ["distill.lr=1e-4", "distill.teachers={data/raw/a: '00'}", "fine_tune.top_k_logits=3", "seed=7"]
    overrides = [*values, "use.loss=dkd", "use.task=multilabel", "trainer=cpu", "trainer.accumulate=2", "loss.alpha=3"]
    assert composed([*overrides, "+source.leaks=drop"], ROOT) == config_of(*overrides, "+source.leaks=drop")


def test_a_component_can_be_chosen_by_its_role_alone() -> None:
    assert composed(["loss=none"], ROOT) == composed(["use.loss=none"], ROOT)


def test_two_composes_are_byte_equal() -> None:
    assert yaml.safe_dump(composed([], ROOT)) == yaml.safe_dump(composed([], ROOT))


@pytest.mark.parametrize("name", ["my project", "a=b", "it's", "50 %, [x] {y}", "back\\slash"])
def test_the_project_may_lie_in_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    root.mkdir()
    shutil.copytree(ROOT / "conf", root / "conf")
    shutil.copy(ROOT / "params.yaml", root)
    assert composed(["seed=7"], root)["seed"] == 7


# --- experiments


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_complete_and_composes(name: str) -> None:
    overrides = experiment_overrides(name, ROOT)
    given = dict(flatten(yaml.safe_load((ROOT / f"conf/experiment/{name}.yaml").read_text())))
    config = dict(flatten(composed(overrides, ROOT)))
    assert {key: config[key] for key in given} == given
    params = dict(flatten(yaml.safe_load((ROOT / "params.yaml").read_text())))
    assert {override.partition("=")[0] for override in overrides} == params.keys()


def test_params_yaml_is_the_default_experiment() -> None:
    assert composed(experiment_overrides("default", ROOT), ROOT) == composed([], ROOT)


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "default"])
def test_an_experiment_holds_only_values_that_differ_from_the_default(name: str) -> None:
    default, different = (
        dict(flatten(yaml.safe_load((ROOT / f"conf/experiment/{n}.yaml").read_text()))) for n in ("default", name)
    )
    assert [key for key, value in different.items() if default[key] == value] == []


def test_an_experiment_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match=r"did you mean 'digits'"):
        experiment_overrides("digit", ROOT)


def test_an_experiment_with_an_unknown_key_and_a_default_without_all_keys_are_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "conf/experiment/part.yaml").write_text("seed: 1\nfine_tune: {epoch: 3}\n")
    default = tmp_path / "conf/experiment/default.yaml"
    default.write_text(default.read_text().replace("  data: support\n", ""))
    with pytest.raises(UserError) as caught:  # a missing value would stay that of the experiment before
        experiment_overrides("part", tmp_path)
    assert "'fine_tune.epoch', which nothing reads (did you mean 'fine_tune.epochs'?)" in str(caught.value)
    assert "default.yaml lacks the key 'use.data'" in str(caught.value)


# --- what does not compose is named


BAD = [
    ("use.adapt=haed", r"use.adapt is 'haed'.*did you mean 'head'"),
    (
        "use.loss=kdd",
        r"use.loss is 'kdd'.*did you mean 'kd'.*there are: attention, dist, .*, none, relation, sum",
    ),
    ("distil.epochs=2", r"the command line has the key 'distil', which nothing reads \(did you mean 'distill'\?\)"),
    ("+distil.epochs=2", r"the command line has the key 'distil'"),
    ("use.los=kd", r"use in params.yaml has the key 'los'"),
    ("distill", r"'distill' on the command line has no value; expected <key>=<value>"),
    ("distill.lr=[1", r"the config does not compose"),
]


@pytest.mark.parametrize(("override", "message"), BAD, ids=[b[0] for b in BAD])
def test_bad_overrides_are_named_with_what_was_expected(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        composed([override], ROOT)


def test_a_component_in_params_yaml_is_refused(project: Path) -> None:
    params = OmegaConf.load(project / "params.yaml")
    params.loss = {"temperature": 9.0}  # it would take effect, and DVC would not see it
    OmegaConf.save(params, project / "params.yaml")
    with pytest.raises(UserError, match=r"params.yaml has the key 'loss'"):
        composed([], project)


def test_yaml_that_does_not_parse_is_named(project: Path) -> None:
    (project / "params.yaml").write_text("use: {data: [")
    with pytest.raises(UserError, match=r"params.yaml does not parse"):
        composed([], project)


def test_outside_the_project_the_message_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run from the project folder"):
        composed([], tmp_path)
