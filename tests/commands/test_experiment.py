import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

from decant.commands import experiment
from decant.core.errors import UserError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """conf/ and params.yaml as the working directory, where nothing runs DVC."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("argument", ["--temp", "--queue", "--run-all"])
def test_folders_that_dvc_deletes_are_refused(argument: str) -> None:
    with pytest.raises(UserError, match="deletes it with the MLflow runs in it"):
        experiment.run([argument])


@pytest.mark.parametrize("arguments", [["-S", "use.augment=flip"], ["--set-param", "params.yaml:fine_tune.epoch=3"]])
def test_a_bad_config_is_named_before_dvc_writes_params(arguments: list[str], project: Path) -> None:
    with pytest.raises(UserError, match=r"for image data|epoch"):
        experiment.run(arguments)
    assert (project / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_an_experiment_becomes_arguments_of_dvc_and_the_users_come_last(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "conf/experiment/small.yaml").write_text("use: {data: toy}\nfine_tune: {epochs: 2}\n")
    commands: list[list[str]] = []
    monkeypatch.setattr(experiment, "wait_for", lambda command: commands.append(command) or 7)
    assert experiment.run(["-S", "fine_tune.epochs=3", "--name", "x"], "small") == 7
    (command,) = commands
    assert command[:3] == ["dvc", "exp", "run"]
    assert command[-4:] == ["-S", "fine_tune.epochs=3", "--name", "x"]
    values = [word for word in command[3:-4] if word != "-S"]
    assert "use.data=toy" in values
    assert "fine_tune.epochs=2" in values
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    keys = {key for key, _, _ in (value.partition("=") for value in values)}
    assert keys >= {"seed", *(f"{section}.{key}" for section in params if section != "seed" for key in params[section])}


@pytest.mark.parametrize(("handler", "expected"), [(signal.SIG_IGN, 0), (signal.default_int_handler, 1)])
def test_ctrl_c_reaches_dvc_unless_the_job_runs_in_the_background(handler: signal.Handlers, expected: int) -> None:
    """A job in the background ignores it, and so does what it starts."""
    script = "import signal, sys; sys.exit(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)"
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert experiment.wait_for([sys.executable, "-c", script]) == expected
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_arguments_of_dvc_that_are_no_parameters_are_passed_over() -> None:
    arguments = ["-S", "a.b=1", "--name", "x", "-Sparams.yaml:c=2", "-f", "--set-param", "other.yaml:d=3"]
    assert experiment.parameter_overrides(arguments) == ["a.b=1", "c=2"]


def test_seeds_and_a_seed_do_not_go_together(project: Path) -> None:
    with pytest.raises(UserError, match="SEEDS is 2, expected no -S seed="):
        experiment.run(["-S", "seed=1"], seed_count=2)


def test_a_result_of_stages_that_are_out_of_date_is_not_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(experiment, "wait_for", lambda command: 0)
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(experiment.subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setattr(experiment.outbox, "start", lambda: pytest.fail("it connected"))
    assert experiment.run([]) == 0
    assert "Not every stage is up to date" in capsys.readouterr().out
