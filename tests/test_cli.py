"""The command line `decant`: help, completion, errors and exit codes; what commands do is tested with each of them."""

import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from support.paths import ROOT

from decant import cli
from decant.commands import deliver, experiment, predict, verify
from decant.serving.predictor import BATCH_SIZE

COMMANDS = ("predict", "serve", "experiment", "compare", "verify", "deliver", "doctor", "config")
SLOW = ("torch", "transformers", "mlflow", "lightning", "pytorch_lightning", "numpy", "onnxruntime", "hydra", "rich")


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """What a command sets for its process is put back."""
    handler, hook = signal.getsignal(signal.SIGPIPE), sys.excepthook
    yield
    signal.signal(signal.SIGPIPE, handler)
    sys.excepthook = hook


def main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["decant", *arguments])
    return cli.main()


def slow_imports(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script; the last line of its output lists the slow modules that were imported."""
    script = f"import sys, atexit\natexit.register(lambda: print(*{{*{SLOW!r}}} & sys.modules.keys()))\n{script}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **env}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [[], ["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_is_complete_and_imports_nothing_slow(arguments: list[str]) -> None:
    done = slow_imports(f"sys.argv = ['decant', *{arguments!r}]\nfrom decant import cli\nsys.exit(cli.main())")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, imported = done.stdout.splitlines()
    assert imported == ""
    assert lines[0].startswith(f"Usage: decant {arguments[0] if len(arguments) == 2 else '[OPTIONS] COMMAND'}")
    wanted = [f"  {name} " for name in COMMANDS] if len(arguments) < 2 else ["Options:"]
    assert all(any(line.startswith(text) for line in lines) for text in wanted)
    assert not any(line.endswith("...") for line in lines[1:])  # no summary is cut short


def test_every_command_is_listed_and_every_option_explained() -> None:
    group = typer.main.get_command(cli.app)
    assert tuple(group.commands) == COMMANDS
    for command in group.commands.values():
        assert all(parameter.help for parameter in command.params), command.name


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("decant pre", ["predict"]),
        ("decant predict --mo", ["--model", "--model-format"]),
        ("decant predict --model-format o", ["onnx"]),
        ("decant experiment --s", ["--set-param", "--seeds"]),
    ],
)
def test_the_shell_completes_commands_options_and_values_without_slow_imports(words: str, wanted: list[str]) -> None:
    env = {"_DECANT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = slow_imports("sys.argv = ['decant']\nfrom decant import cli\ncli.main()", **env)
    assert done.stdout.splitlines() == [*wanted, ""], done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predct"], "No such command 'predct'. Did you mean 'predict'? See decant --help."),
        (["--modle"], "No such option: --modle. See decant --help."),
        (["predict", "--columm", "a"], "No such option: --columm (Possible options: --column). See decant predict --h"),
        (["predict", "--top-k", "0"], "Invalid value for '--top-k': '0', expected 1 or more. See decant predict --h"),
        (["predict", "--top-k", "-1"], "Invalid value for '--top-k': '-1', expected 1 or more. See decant predict"),
        (["predict", "--batch-size", "1.5"], "Invalid value for '--batch-size': '1.5', expected 1 or more. See decant"),
        (["predict", "--format", "xml"], "Invalid value for '--format': Value error, 'xml' is not one of 'csv', 'js"),
        (["predict", "--model-format", "int4"], "Invalid value for '--model-format': Value error, 'int4' is not one"),
        (["predict", "absent.txt"], "there is no file absent.txt"),
        (["compare", "a"], "Missing argument 'B'. See decant compare --help."),
        (["compare", "a", "b", "c"], "Got unexpected extra argument(s) (c). See decant compare --help."),
        (
            ["compare", "a", "b", "--confidence", "x"],
            "Invalid value for '--confidence': Input should be a valid number",
        ),
        (["verify", "--tolerance"], "Option '--tolerance' requires an argument. See decant --help."),
        (["experiment", "--seeds", "many"], "Invalid value for '--seeds': 'many', expected 1 or more. See decant exp"),
        (["config", "trainer=cpu", "distil.lr=1"], "the command line has the key 'distil', which nothing reads"),
    ],
)
def test_bad_command_lines_end_with_one_line_and_exit_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"decant: {message}")
    assert (out, err.count("\n")) == ("", 1)


def test_every_problem_has_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(monkeypatch, "predict", "absent.txt", "gone.csv") == 2
    assert [line.split(";")[0] for line in capsys.readouterr().err.splitlines()] == [
        "decant: there is no file absent.txt",
        "decant: there is no file gone.csv",
    ]


def test_options_reach_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(predict, "run", lambda *arguments: calls.append(arguments))
    assert main(monkeypatch, "predict") == 0
    short = ["a", "-", "--column", "x", "--column", "y", "--top-k", "3", "--batch-size", "1", "--model", "m"]
    assert main(monkeypatch, "predict", *short, "--model-format", "onnx", "--format", "csv", "--output", "o") == 0
    assert calls == [
        (["-"], predict.Options(Path("data/distill"), None, (), 0, 32, None, None)),
        (["a", "-"], predict.Options(Path("m"), "onnx", ["x", "y"], 3, 1, Path("o"), "csv")),
    ]
    assert inspect.signature(cli.predict).parameters["batch_size"].default == BATCH_SIZE


def test_the_options_of_an_experiment_reach_it_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(experiment, "run", lambda options: calls.append(options) or 7)
    words = ["-S", "use.loss=hint", "--seeds", "3", "-Suse.loss=kd", "--name=x", "--experiment", "digits", "-f"]
    assert main(monkeypatch, "experiment", *words) == 7  # the exit code of DVC
    assert main(monkeypatch, "experiment") == 7
    first = experiment.Options("digits", ["use.loss=hint", "use.loss=kd"], 3, "x", True)
    assert calls == [first, experiment.Options()]


def test_the_exit_code_of_verify_says_how_far_outputs_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "run", lambda tolerance: 3 if tolerance == 0.5 else 4)
    assert main(monkeypatch, "verify", "--tolerance", "0.5") == 3
    assert main(monkeypatch, "verify") == 4


def test_ctrl_c_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deliver, "run", interrupted)
    assert main(monkeypatch, "deliver") == 130
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(experiment, "run_all", interrupted)
    assert main(monkeypatch, "experiment") == 130
    assert capsys.readouterr().err == f"decant: {experiment.STOPPED}\n"


@pytest.mark.parametrize("program", ["dvc", "git"])
def test_a_program_that_is_not_on_the_path_is_named(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(verify, "run", lambda _: subprocess.run([program, "status"], check=False).returncode)
    assert main(monkeypatch, "verify") == 2
    assert capsys.readouterr().err.startswith(f"decant: the program {program} is not on the PATH; ")


def test_other_files_that_are_missing_are_errors_of_decant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "run", lambda _: Path("absent").read_text())
    with pytest.raises(FileNotFoundError):
        main(monkeypatch, "verify")


def test_only_commands_without_connections_end_with_the_reader_of_their_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to MLflow that breaks would end the others, too."""
    handlers = {}
    for command in (predict, deliver):
        monkeypatch.setattr(command, "run", lambda *_: handlers.update({name: signal.getsignal(signal.SIGPIPE)}))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for name in ("deliver", "predict"):
        assert main(monkeypatch, name) == 0
    assert handlers == {"deliver": signal.SIG_IGN, "predict": signal.SIG_DFL}
