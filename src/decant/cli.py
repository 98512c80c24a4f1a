"""The command `decant`: options and help of each command; what it does is in `commands/`.

Each function imports its command when it runs. Commands are slow to import (ONNX Runtime, or MLflow and PyTorch), and
help and shell completion should not wait for them.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from decant.core.errors import UserError
from decant.serving.model_formats import ModelFormat
from decant.serving.writers import OutputFormat

app = typer.Typer(
    help="From a pretrained model and your labels to a small model you can serve and defend.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # importing rich takes longer than all else that help needs
    pretty_exceptions_enable=False,  # its tracebacks show the values of variables, credentials included
)
PROGRAMS = {"dvc": "run: source .venv/bin/activate", "git": "install it"}
"""Programs that commands start, and what to do if they are not on the PATH."""

FormatOption = Annotated[
    ModelFormat | None,
    typer.Option(help="Exported format to run.", show_default="int8 if the model directory holds it"),
]


def main() -> int:
    """Run a command line; the exit code is 2 for a problem that the user can correct, 130 after Ctrl-C."""
    try:
        return app(args=sys.argv[1:] or ["--help"], prog_name="decant", standalone_mode=False) or 0
    except UserError as error:
        problems = error.problems
    except typer.TyperException as error:  # bad options and arguments
        context = getattr(error, "ctx", None)
        message = error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        problems = [f"{message}{end} See {context.command_path if context else 'decant'} --help."]
    except FileNotFoundError as error:
        if error.filename not in PROGRAMS:
            raise
        problems = [f"the program {error.filename} is not on the PATH; {PROGRAMS[error.filename]}"]
    except KeyboardInterrupt:
        return 130
    print(*(f"decant: {problem}" for problem in problems), sep="\n", file=sys.stderr)
    return 2


def positive(value: str | int) -> int:
    """Parse a whole number of at least 1; typer passes default values, too."""
    if not str(value).isdecimal() or int(value) < 1:
        raise typer.BadParameter(f"{value!r}, expected 1 or more")
    return int(value)


def end_with_reader() -> None:
    """End quietly when the reader of the output leaves, as `cat` does: `decant predict ... | head`.

    Only for commands without connections: the signal would end the process, too, when an MLflow server goes away.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


@app.command()
def predict(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help=(
                "Text (one input per line), .csv, .tsv, .jsonl, .parquet; images, or folders of them; "
                "- or nothing: the standard input."
            ),
        ),
    ] = None,
    model: Annotated[Path, typer.Option(help="Model directory.")] = Path("data/distill"),
    model_format: FormatOption = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Column that holds the input; give it twice for pairs of texts."),
    ] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="Format of the output.", show_default="by the suffix of the output, else jsonl"),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(parser=positive, metavar="N", help="Add the probabilities of the N most probable classes."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Output file.", show_default="standard output")] = None,
    batch_size: Annotated[int, typer.Option(parser=positive, metavar="N", help="Inputs per forward pass.")] = 32,
) -> None:
    """Predict labels for texts or images in files.

    Writes every row with its columns and the prediction of a finished model. Needs neither PyTorch nor MLflow, unless
    the model has no ONNX files.
    """
    end_with_reader()
    from decant.commands.predict import Options, run

    run(files or ["-"], Options(model, model_format, column or (), top_k or 0, batch_size, output, output_format))


@app.command()
def serve(
    model: Annotated[
        str, typer.Option(help="Model directory, or the address of a model in MLflow: runs:/<id>/student.")
    ] = "data/distill",
    model_format: FormatOption = None,
    host: Annotated[str, typer.Option(help="Address to listen to; the server has no passwords.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen to; 0: any free one.")] = 5001,
) -> None:
    """Serve predictions over HTTP, in the request format of MLflow.

    Answers GET /ping and POST /invocations. Each request has limits: bytes, inputs, seconds and more.
    """
    from decant.commands.serve import run

    run(model, model_format, host, port)


@app.command()
def experiment(
    experiment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="File of conf/experiment/: the values of params.yaml for one experiment; -S comes on top.",
        ),
    ] = None,
    set_param: Annotated[
        list[str] | None,
        typer.Option(
            "--set-param", "-S", metavar="KEY=VALUE", help="A value: distill.epochs=8, conf/loss/kd.yaml:weight=2."
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            parser=positive, metavar="N", help="Run the seeds 0 to N - 1, and show mean and deviation of metrics."
        ),
    ] = 1,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", "-n", help="Name of the DVC experiment.", show_default="made of data, student and inputs"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Run all stages, whatever changed.")] = False,
) -> int:
    """Run the pipeline as an experiment, and show the result.

    The stages run in a private worktree in .state/experiments/: edits meanwhile do not reach them, but for those of
    untracked files in data/raw. At the end data/, dvc.lock and provenance.json are replaced in one step, if the
    experiment has the values of params.yaml. Otherwise the result is a DVC experiment alone (dvc exp apply takes it
    over). After a kill, the same command resumes.
    """
    from decant.workspace import up_to_date

    if not (experiment or set_param or name or force or seeds > 1) and up_to_date.show(Path.cwd()):
        return 0
    from decant.commands.experiment import Options, run

    return run(Options(experiment, set_param or (), seeds, name, force))


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The experiment to compare with.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The experiment that may be better.")],
    confidence: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="In (0, 1).", show_default="evaluate.confidence in params.yaml"),
    ] = None,
) -> None:
    """Test whether one experiment is better than another.

    Prints the difference, its interval and a p-value for every model that both have.

    A and B are each a git revision, a DVC experiment, the id of an MLflow run (of one invocation, or of several
    seeds), or . for the result in this folder; or several of these, separated by commas.

    With one run each, their predictions for the same test rows are compared; the spread over seeds is not included.
    With several, the means over the seeds that both have are compared.
    """
    from decant.commands.compare import run

    run(a, b, confidence)


@app.command()
def verify(
    tolerance: Annotated[float, typer.Option(metavar="X", help="Largest difference that counts as equal.")] = 0.01,
) -> int:
    """Reproduce the committed experiment, and compare the bytes.

    Runs all stages in a fresh clone with an empty cache, and compares every output with what dvc.lock has committed:
    byte-equal (exit code 0), equal within the tolerance (3) or different (4). Within the tolerance: no number differs
    by more, and no weight or logit by more than that share of the largest in its array.

    The size of a difference is known only if the committed output is in DVC's cache here, or in a remote. To explain
    differences, this machine is compared with provenance.json, which records where the outputs were made.
    """
    from decant.commands.verify import run

    return run(tolerance)


@app.command()
def deliver() -> None:
    """Send queued events to the MLflow server, after it was away."""
    from decant.commands.deliver import run

    run()


@app.command()
def doctor(heal: Annotated[bool, typer.Option("--heal", help="Repair what can be repaired.")] = False) -> int:
    """Find what a kill or a damaged disk left in this project.

    Checks DVC's cache, outputs, locks, dvc.lock, params.yaml, MLflow runs and git, and prints each problem with its
    remedy. --heal replaces damaged files and keeps them in .state/quarantine. The exit code is 1 if a problem is left.
    Run it before dvc push: DVC pushes damaged files unseen.
    """
    from decant.commands.doctor import run

    return run(heal)


@app.command()
def config(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="OVERRIDE", help="As for a stage: use.loss=none distill.lr=1e-4 trainer=cpu."),
    ] = None,
) -> None:
    """Print the whole config as yaml, after checking it."""
    end_with_reader()
    from decant.commands.config import run

    run(overrides or [])


if __name__ == "__main__":
    sys.exit(main())
