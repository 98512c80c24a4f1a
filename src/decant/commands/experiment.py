"""`make experiment`: `dvc exp run`, then the result, also when DVC took all of it from its cache.

python -m decant.experiment [--experiment name] [--seeds count] [arguments of dvc exp run]

`name` is a file of conf/experiment/: every value of params.yaml for one experiment; -S comes on top. With `count`
seeds, see seeds.py.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
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


def main(words: list[str]) -> int:
    """Run what the words say, for one seed or several; the exit code is DVC's."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("decant.experiment", None, __doc__, allow_abbrev=False, formatter_class=plain)
    parser.add_argument("--experiment", help="make experiment EXPERIMENT=...")
    parser.add_argument("--seeds", type=int, default=1, help="make experiment SEEDS=...")
    own, arguments = parser.parse_known_args(words)
    values = experiment_overrides(own.experiment) if own.experiment else []
    if lost := [a for a in arguments if a.partition("=")[0] in ("--temp", "--queue", "--run-all")]:
        raise UserError(
            f"{', '.join(lost)}: DVC runs that in a folder of its own, and deletes it with the MLflow runs in it; "
            "leave it out, or run dvc exp run yourself with MLFLOW_TRACKING_URI set to an absolute store"
        )
    # told before anything runs, and before DVC writes -S into params.yaml
    planned = Experiment.load([*values, *changed(arguments)])
    check_compatible(planned)
    arguments = [word for value in values for word in ("-S", value)] + arguments
    if own.seeds == 1:
        return one(arguments)
    if own.seeds < 1 or any(word.startswith("seed=") for word in changed(arguments)):
        raise UserError(f"SEEDS is {own.seeds}, expected 2 or more, and no -S seed=: the seeds are 0 to SEEDS - 1")
    seeds.several(own.seeds, planned, lambda seed: one([*arguments, "-S", f"seed={seed}"]))
    return 0


def one(arguments: list[str]) -> int:
    """Run one experiment, and show what came out; the exit code is DVC's."""
    os.environ["DECANT_INVOCATION"] = f"{os.getpid()} {time.time()}"
    code = patiently(["dvc", "exp", "run", *arguments])
    config = Experiment.load().config  # what -S made of it; where DVC failed, it may say why
    if code or "--dry" in arguments:
        return code
    if subprocess.run(["dvc", "status", "--quiet"], check=False).returncode:
        print("Not every stage is up to date, so there is no result to show; dvc status says which.")
        return code
    outbox.start()
    with parent(config) as whole:  # in either case: dvc.lock is whole only now
        if not made_now():
            print("evaluate did not have to run: its result was made before, and is restored.")
            restore_timings()
            metrics, timings = report.read()
            report.log(whole, metrics, timings)
            report.print_result(metrics, timings)
    outbox.finish()
    restore_provenance()
    if made := producer("distill"):
        print(f"The student, as MLflow serves it: runs:/{made.info.run_id}/student")
    return code


def patiently(command: list[str]) -> int:
    """Run to the end, and give the exit code: Ctrl-C is for DVC, which has git's branch and index to put back.

    `subprocess.run` would kill it a quarter of a second after. SIGTERM, at which DVC would leave them as they are, does
    what Ctrl-C does.

    Raises:
        KeyboardInterrupt: afterwards.
    """
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    background = before[signal.SIGINT] == signal.SIG_IGN  # then DVC and its stages do not hear Ctrl-C either
    for number in (signal.SIGTERM,) if background else before:
        signal.signal(number, lambda number, _: heard.append(number))
    try:
        process = subprocess.Popen(command, preexec_fn=partial(signal.signal, signal.SIGTERM, signal.SIG_IGN))
        code, told = None, False
        while code is None:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(1)
            if signal.SIGTERM in heard and not told:
                stop(signal.SIGTERM if background else signal.SIGINT)
                told = not background  # DVC would take a second Ctrl-C for haste; a stage may have begun just now
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code and heard:
        raise KeyboardInterrupt
    return code


def stop(number: int) -> None:
    """Send a signal to all processes below this one."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def changed(arguments: list[str]) -> list[str]:
    """The overrides of params.yaml that arguments of dvc exp run hold; DVC changes other files, too."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("-S", "--set-param", action="append", default=[])
    words = [w.removeprefix("params.yaml:") for w in parser.parse_known_args(arguments)[0].set_param]
    return [w for w in words if ":" not in w.partition("=")[0]]


def made_now() -> bool:
    """Whether evaluate ran, and so showed the result itself."""
    key = os.environ["DECANT_INVOCATION"]
    return bool(store.find(f"tags.`decant.invocation` = '{key}' and metrics.`student/parameters` >= 0"))


def restore_timings() -> None:
    """Bring back latency.json and report.md, which DVC does not keep, from the run that made metrics.json.

    Raises:
        UserError: no such run in this store.
    """
    made = producer("evaluate")
    if made is None:
        raise UserError(
            "data/evaluate/metrics.json is restored, but no MLflow run of this store made it, so its timings are "
            "not known here; measure them with: dvc repro --force --single-item evaluate"
        )
    for name in report.TIMED:
        mlflow.MlflowClient().download_artifacts(made.info.run_id, name, str(report.OUT))


if __name__ == "__main__":
    configure_libraries()
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("decant: stopped; the same command goes on from what was kept")
    except UserError as error:
        print(*(f"decant: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        sys.exit(2)
