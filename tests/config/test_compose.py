import re
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.paths import ROOT

from decant.config import compose
from decant.core.errors import UserError

PIECES = [
    (role, file.stem) for role, kind in compose.ROLES.items() for file in sorted((ROOT / "conf" / kind).glob("*.yaml"))
]


@pytest.mark.parametrize(("role", "name"), PIECES)
def test_every_piece_composes_and_can_be_built_in_every_role(role: str, name: str) -> None:
    cfg = compose.load([f"use.{role}={name}"], ROOT)
    assert compose.piece(cfg, role) is not None
    assert cfg.use[role] == name


@pytest.mark.parametrize("name", sorted(f.stem for f in (ROOT / "conf/trainer").glob("*.yaml")))
def test_every_trainer_composes(name: str) -> None:
    assert compose.load([f"trainer={name}"], ROOT).trainer.devices


@pytest.mark.parametrize("name", sorted(f.stem for f in (ROOT / "conf/experiment").glob("*.yaml")))
def test_every_experiment_is_whole_and_composes(name: str) -> None:
    values = compose.experiment(name, ROOT)
    assert compose.load(values, ROOT).use.data == dict(v.split("=") for v in values)["use.data"]


def test_the_default_is_an_experiment_too() -> None:
    values = compose.experiment("support", ROOT)
    assert compose.load(values, ROOT) == compose.load([], ROOT)


def test_an_experiment_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"did you mean 'digits'"):
        compose.experiment("digit", ROOT)


def test_an_experiment_without_all_keys_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "conf/experiment/part.yaml").write_text("seed: 1\nfine_tune: {epoch: 3}\n")
    with pytest.raises(UserError) as caught:  # what it lacks would be left over from the experiment before
        compose.experiment("part", tmp_path)
    assert "'fine_tune.epoch', which nothing reads (did you mean 'fine_tune.epochs'?)" in str(caught.value)
    assert "lacks the key 'use.data'" in str(caught.value)


@pytest.mark.parametrize("name", ["my project", "a=b", "it's", "50 %, [x] {y}", "back\\slash"])
def test_the_project_may_lie_in_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    root.mkdir()
    shutil.copytree(ROOT / "conf", root / "conf")
    shutil.copy(ROOT / "params.yaml", root)
    assert compose.load(["seed=7"], root).seed == 7


def test_two_composes_are_byte_equal() -> None:
    assert OmegaConf.to_yaml(compose.load([], ROOT)) == OmegaConf.to_yaml(compose.load([], ROOT))


def test_a_section_comes_as_its_dataclass_with_types() -> None:
    knobs = compose.settings(compose.load(["distill.lr=1e-4"], ROOT), "distill")
    assert knobs.lr == 1e-4
    assert isinstance(knobs.epochs, int)


BAD = [
    ("distill.lr=fast", r"distill.*Value 'fast'"),
    ("use.adapt=haed", r"use.adapt is 'haed'.*did you mean 'head'"),
    (
        "use.loss=kdd",
        r"use.loss is 'kdd'.*did you mean 'kd'.*there are: attention, dist, .*, none, relation, sum",
    ),
    ("loss.temperature=-1", r"conf/loss/kd.yaml: temperature is -1"),
    ("+loss.temprature=2", r"'temprature', which nothing reads \(did you mean 'temperature'\?\)"),
    ("+distill.epoch=2", r"'epoch', which nothing reads \(did you mean 'epochs'\?\)"),
    ("distill.epoch=2", r"'epoch', which nothing reads \(did you mean 'epochs'\?\)"),
    ("distil.epochs=2", r"the command line has the key 'distil', which nothing reads \(did you mean 'distill'\?\)"),
    ("+distil.epochs=2", r"the command line has the key 'distil'"),
    ("fine_tune.warmup=1.5", r"fine_tune.warmup is 1.5, expected in \[0, 1\)"),
    ("prepare.test=0", r"prepare.test is 0"),
    ("teacher.revision=main", r"conf/backbone/distilbert.yaml.*40 hexadecimal"),
    ("+data.leaks=ignore", r"leaks is 'ignore', expected one of: refuse, drop"),
    ("seed=many", r"seed is 'many'"),
]


@pytest.mark.parametrize(("override", "message"), BAD, ids=[b[0] for b in BAD])
def test_bad_values_are_named_with_what_was_expected(override: str, message: str) -> None:
    extra = ["use.teacher=distilbert"] if "revision" in override else []
    with pytest.raises(UserError) as caught:
        compose.load([*extra, override], ROOT)
    assert re.search(message, str(caught.value), re.DOTALL)


def test_all_problems_are_raised_together(project: Path) -> None:
    params = OmegaConf.load(project / "params.yaml")
    params.distill.epoch = 3
    params.evaluate.bins = 0
    params.fine_tune.lr = -1
    OmegaConf.save(params, project / "params.yaml")
    with pytest.raises(UserError) as caught:
        compose.load([], project)
    assert len(caught.value.problems) == 3


def test_a_piece_in_params_yaml_is_refused(project: Path) -> None:
    params = OmegaConf.load(project / "params.yaml")
    params.loss = {"temperature": 9.0}  # it would take effect, and DVC would not see it
    OmegaConf.save(params, project / "params.yaml")
    with pytest.raises(UserError, match=r"params.yaml has the key 'loss'"):
        compose.load([], project)


def test_yaml_that_does_not_parse_is_named(project: Path) -> None:
    (project / "params.yaml").write_text("use: {data: [")
    with pytest.raises(UserError, match=r"params.yaml does not parse"):
        compose.load([], project)


def test_outside_the_project_the_message_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run from the project folder"):
        compose.load([], tmp_path)
