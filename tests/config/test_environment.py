import re
import shutil
from pathlib import Path

import pytest
from support.paths import ROOT

from decant.config.compose import composed
from decant.config.environment import DECLARED
from decant.core.errors import UserError
from decant.experiment.experiment import Experiment

TABLE = "_target_: decant.data.table.Table\ntrain: data/raw/a.csv\ninput: a\ntarget: b\n"
SECRET = "98hgf7dk2+85hf73hfj29"


@pytest.fixture
def project(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a conf/ of its own, and a secret in the environment."""
    (project / "conf").unlink()
    shutil.copytree(ROOT / "conf", project / "conf")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("SOMETHING", "else")
    return project


def write(project: Path, line: str) -> None:
    (project / "conf/data/mine.yaml").write_text(f"{TABLE}{line}\n")


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:AWS_SECRET_ACCESS_KEY}",
        "${oc.env:SOMETHING}",
        "${oc.env:SOMETHING,default}",
        "${oc.decode:${oc.env:SOMETHING}}",
        "a/${oc.env:SOMETHING}/b",
        "\\${oc.env:SOMETHING}",  # escaped: a second resolution, when the component is built, would read it
    ],
)
def test_a_variable_that_is_not_declared_is_refused(value: str, project: Path) -> None:
    write(project, f"licence: {value}")
    with pytest.raises(UserError, match=r"\$\{oc.env:\w+\} would put .* into the config.*one of: DECANT_DATA"):
        Experiment.load(["use.data=mine"], project)


def test_a_variable_on_the_command_line_and_in_the_list_of_defaults_is_refused(project: Path) -> None:
    with pytest.raises(UserError, match=r"^fine_tune\.lr: \$\{oc\.env:SOMETHING\} would put"):
        composed(["fine_tune.lr=${oc.env:SOMETHING}"], project)
    config = project / "conf/config.yaml"
    config.write_text(config.read_text().replace("DECANT_TRAINER", "SOMETHING"))
    with pytest.raises(UserError, match=r"^conf/config\.yaml: \$\{oc\.env:SOMETHING\} would put"):
        composed([], project)


def test_a_declared_variable_is_read_and_one_without_a_value_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "licence: ${oc.env:DECANT_IMAGES,${oc.env:DECANT_MODEL,3}}")
    assert composed(["use.data=mine"], project)["data"]["licence"] == "3"
    monkeypatch.setenv("DECANT_IMAGES", "here")
    assert composed(["use.data=mine"], project)["data"]["licence"] == "here"
    write(project, "licence: ${oc.env:DECANT_MODEL}")
    with pytest.raises(UserError, match=r"set the variable: DECANT_MODEL=<folder of a model>"):
        composed(["use.data=mine"], project)


def test_every_variable_that_ships_is_declared_and_every_declared_one_ships() -> None:
    texts = [file.read_text() for file in (ROOT / "conf").rglob("*.yaml")]
    assert {name for text in texts for name in re.findall(r"\$\{oc\.env:(\w+)", text)} == DECLARED.keys()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"licence: {SECRET}", "data.licence in conf/data/mine.yaml is ***"),
        (f"licence: 'key {SECRET} of mine'", "is key *** of mine"),
        ("unlabelled: https://me:hunter22@host/a.csv", "data.unlabelled in conf/data/mine.yaml is https://host/a.csv"),
        ("classes: [a, 'https://host/a.csv?token=hunter22']", "data.classes in conf/data/mine.yaml is https://host/a"),
        (f"where: {{train: {{{SECRET}: 1}}}}", "data.where.train in conf/data/mine.yaml is ***"),
    ],
)
def test_a_config_with_a_credential_is_refused_before_anything_records_it(line: str, shown: str, project: Path) -> None:
    write(project, line)
    with pytest.raises(UserError, match="DVC and MLflow would keep that: remove it") as caught:
        composed(["use.data=mine"], project)
    assert shown in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_credential_on_the_command_line_is_refused(project: Path) -> None:
    with pytest.raises(UserError, match=r"fine_tune.lr in params.yaml is \*\*\*, without the credential"):
        composed([f"fine_tune.lr='{SECRET}'"], project)
