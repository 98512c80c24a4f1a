"""`decant experiment`: `dvc exp run`, then the result, also if DVC restored all of it from its cache."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import mlflow
import psutil

from decant.commands import seeds
from decant.config.compose import experiment_overrides
from decant.core.errors import UserError
from decant.core.stage import configure_libraries
from decant.evaluation import report
from decant.experiment.compatible import check_compatible
from decant.experiment.experiment import Experiment
from decant.tracking import outbox, store
from decant.tracking.outputs import producer, restore_provenance
from decant.tracking.runs import parent

TEMPORARY_FOLDER = ("--temp", "--queue", "--run-all")
"""Arguments with which DVC runs the pipeline in a temporary folder."""


def run(arguments: Sequence[str], experiment: str | None = None, seed_count: int = 1) -> int:
    """Run an experiment for one seed or several; the exit code is DVC's.

    Args:
        arguments: of `dvc exp run`.
        experiment: a file of conf/experiment/.
        seed_count: runs the seeds 0 to `seed_count` - 1; 1: the seed of the config.

    Raises:
        UserError: bad arguments or a bad config.
        KeyboardInterrupt: after DVC stopped.
    """
    configure_libraries()
    try:
        return check_and_run(arguments, experiment, seed_count)
    except KeyboardInterrupt:
        print("decant: stopped; run the same command again to resume from the saved state", file=sys.stderr)
        raise


def check_and_run(arguments: Sequence[str], experiment: str | None, seed_count: int) -> int:
    """See `run`; everything is checked before DVC writes -S into params.yaml."""
    values = experiment_overrides(experiment) if experiment else []
    check_arguments(arguments)
    overrides = parameter_overrides(arguments)
    planned = Experiment.load([*values, *overrides])
    check_compatible(planned)
    arguments = [word for value in values for word in ("-S", value)] + [*arguments]
    if seed_count == 1:
        return run_once(arguments)
    if any(override.startswith("seed=") for override in overrides):
        raise UserError(f"SEEDS is {seed_count}, expected no -S seed= with it: the seeds are 0 to SEEDS - 1")
    seeds.run_seeds(seed_count, planned, lambda seed: run_once([*arguments, "-S", f"seed={seed}"]))
    return 0


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse arguments with which the MLflow runs would be lost.

    Raises:
        UserError: with all of them.
    """
    if refused := [a for a in arguments if a.partition("=")[0] in TEMPORARY_FOLDER]:
        raise UserError(
            f"{', '.join(refused)}: DVC runs that in a temporary folder, and deletes it with the MLflow runs in it; "
            "leave it out, or run dvc exp run yourself with MLFLOW_TRACKING_URI set to an absolute store"
        )


def run_once(arguments: Sequence[str]) -> int:
    """Run one experiment, and show its result; the exit code is DVC's."""
    os.environ["DECANT_INVOCATION"] = f"{os.getpid()} {time.time()}"
    code = wait_for(["dvc", "exp", "run", *arguments])
    config = Experiment.load().config  # with the values that -S wrote; if DVC failed, this may explain why
    if code or "--dry" in arguments:
        return code
    if subprocess.run(["dvc", "status", "--quiet"], check=False).returncode:
        print("Not every stage is up to date, so there is no result to show; dvc status lists them.")
        return code
    outbox.start()
    with parent(config) as invocation:  # dvc.lock is complete only now, so this is recorded in either case
        if not evaluate_ran():
            print("evaluate did not have to run: its result is restored.")
            restore_timings()
            metrics, timings = report.read()
            report.log(invocation, metrics, timings)
            report.print_result(metrics, timings)
    outbox.finish()
    restore_provenance()
    if distill_run := producer("distill"):
        print(f"The student as an MLflow model: runs:/{distill_run.info.run_id}/student")
    return code


def wait_for(command: Sequence[str]) -> int:
    """Run a command to its end, and return its exit code; Ctrl-C is left to the command.

    DVC has to restore git's branch and index, and `subprocess.run` would kill it a quarter of a second after Ctrl-C.
    SIGTERM, at which DVC would not restore them, is turned into Ctrl-C.

    Raises:
        KeyboardInterrupt: afterwards, if the command failed after a signal.
    """
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    background = handlers[signal.SIGINT] == signal.SIG_IGN  # then DVC and its stages ignore Ctrl-C, too
    for number in (signal.SIGTERM,) if background else handlers:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        process = subprocess.Popen(command, preexec_fn=partial(signal.signal, signal.SIGTERM, signal.SIG_IGN))
        code = wait_and_forward(process, received, signal.SIGTERM if background else signal.SIGINT)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if code and received:
        raise KeyboardInterrupt
    return code


def wait_and_forward(process: subprocess.Popen[bytes], received: Sequence[int], forward: signal.Signals) -> int:
    """Wait for a process; when SIGTERM was received, signal all processes below this one with `forward`."""
    code, forwarded = None, False
    while code is None:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(1)
        if signal.SIGTERM in received and not forwarded:
            signal_descendants(forward)
            # DVC takes a second Ctrl-C as a demand to stop at once; SIGTERM is repeated for stages that began just now
            forwarded = forward == signal.SIGINT
    return code


def signal_descendants(number: int) -> None:
    """Send a signal to all processes below this one."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def parameter_overrides(arguments: Sequence[str]) -> list[str]:
    """The overrides of params.yaml among the arguments of dvc exp run; DVC changes other files, too.

    Raises:
        UserError: -S without a value.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    parser.add_argument("-S", "--set-param", action="append", default=[])
    try:
        options, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}, such as -S distill.epochs=8") from error
    overrides = [value.removeprefix("params.yaml:") for value in options.set_param]
    return [override for override in overrides if ":" not in override.partition("=")[0]]


def evaluate_ran() -> bool:
    """Whether evaluate ran in this invocation, and so showed the result itself."""
    key = os.environ["DECANT_INVOCATION"]
    return bool(store.find(f"tags.`decant.invocation` = '{key}' and metrics.`student/parameters` >= 0"))


def restore_timings() -> None:
    """Restore latency.json and report.md, which DVC does not cache, from the run that made metrics.json.

    Raises:
        UserError: this store has no such run.
    """
    evaluate_run = producer("evaluate")
    if evaluate_run is None:
        raise UserError(
            "data/evaluate/metrics.json is restored, but no MLflow run of this store made it, so its timings are "
            "not known here; measure them with: dvc repro --force --single-item evaluate"
        )
    for name in report.TIMED:
        mlflow.MlflowClient().download_artifacts(evaluate_run.info.run_id, name, str(report.OUT))
