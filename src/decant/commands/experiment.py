"""`decant experiment`: the pipeline in a private worktree, then the result, also if DVC restored all of it.

The files of the user are read once, at the start. At the end the outputs come into the project in one step, if the
experiment has the values of params.yaml there; the result of other values is a DVC experiment.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from decant.commands import seeds
from decant.commands.child_process import wait_for
from decant.config.compose import experiment_overrides, parse_yaml
from decant.core.errors import UserError
from decant.core.files import write_atomically
from decant.core.stage import configure_libraries
from decant.evaluation import report
from decant.experiment.compatible import check_compatible
from decant.experiment.experiment import Experiment
from decant.tracking import outbox
from decant.tracking.outputs import producer, restore_provenance
from decant.tracking.runs import parent
from decant.workspace import result, up_to_date, worktree
from decant.workspace.git import LOCAL_VARIABLES
from decant.workspace.snapshot import Snapshot, digest, take_snapshot
from decant.workspace.worktree import Worktree

STOPPED = (
    "stopped; the same command goes on: finished stages are restored, a training resumes from its last saved state"
)

OTHER_VALUES = "it has other values than params.yaml"


@dataclass(frozen=True)
class Options:
    """What to run; the command line documents it."""

    experiment: str | None = None
    set_param: Sequence[str] = ()
    seeds: int = 1
    name: str | None = None
    force: bool = False


def run(options: Options) -> int:
    """Run an experiment for one seed or several; the exit code is DVC's.

    Raises:
        UserError: a bad config, or the same experiment is running.
        KeyboardInterrupt: after DVC stopped.
    """
    configure_libraries()
    for name in LOCAL_VARIABLES:  # DVC and the stages ask git, too
        os.environ.pop(name, None)
    try:
        return run_all(Path.cwd(), options)
    except KeyboardInterrupt:
        print(f"decant: {STOPPED}", file=sys.stderr)
        raise


def run_all(root: Path, options: Options) -> int:
    """See `run`; for the project in `root`."""
    result.complete_interrupted(root)
    values = [*(experiment_overrides(options.experiment) if options.experiment else []), *options.set_param]
    if options.seeds == 1:
        return run_once(root, values, options)
    if any(value.startswith("seed=") for value in options.set_param):
        raise UserError(f"SEEDS is {options.seeds}, expected no -S seed= with it: the seeds are 0 to SEEDS - 1")
    planned = Experiment.load(params_overrides(values), root)
    check_compatible(planned)

    def run_seed(seed: int) -> int:
        name = options.name and f"{options.name}-seed{seed}"
        return run_once(root, [*values, f"seed={seed}"], replace(options, name=name))

    seeds.run_seeds(options.seeds, planned, run_seed)
    return 0


def run_once(root: Path, values: Sequence[str], options: Options) -> int:
    """Run one experiment with overrides of params.yaml, and show its result; the exit code is DVC's."""
    check_compatible(Experiment.load(params_overrides(values), root))  # before anything is written
    with worktree.opened(root, worktree_name(root, options.experiment, values)) as place:
        snapshot = take_snapshot(root)
        place.synchronize(snapshot)
        experiment = set_values(place.project, values)
        inputs = take_snapshot(place.project).inputs
        name = options.name or f"{experiment.use['data']}-{experiment.use['student']}-{inputs[:7]}".replace("_", "-")
        result.check_name(root, snapshot, name, inputs)
        os.environ |= {
            "DECANT_PROJECT": str(root),
            "DECANT_INVOCATION": place.invocation(),
            "DECANT_EXPERIMENT_NAME": name,
        }
        timings = place.project / report.OUT / "latency.json"
        before = modified(timings)
        code = reproduce(place, options.force)
        if code == 0:
            show_result(place, experiment, restored=modified(timings) == before)
            result.save(place, snapshot, name)
            print(location(name, applied(place, snapshot) if inputs == snapshot.inputs else OTHER_VALUES))
            place.remove()
    return code


def applied(place: Worktree, snapshot: Snapshot) -> str:
    """Bring the result into the project; the reason if that is not possible, else empty."""
    reason = result.apply(place, snapshot)
    if not reason:
        up_to_date.remember(place.root, snapshot)
    return reason


def worktree_name(root: Path, experiment: str | None, values: Sequence[str]) -> str:
    """A name of the command: the same command finds its worktree again.

    The folder of the project has a part in it: git wants other names in other checkouts of the repository.
    """
    return f"{experiment or 'params'}-{digest([str(root), *values])[:8]}"


def set_values(project: Path, overrides: Sequence[str]) -> Experiment:
    """Write overrides into the params.yaml, or other files, of a worktree; the experiment that it holds then.

    Raises:
        UserError: a bad config.
    """
    named = [split_file(override) for override in overrides]
    for file in dict.fromkeys(file for file, _ in named):
        write_values(project, file, [override for name, override in named if name == file])
    experiment = Experiment.load([], project)
    check_compatible(experiment)
    return experiment


def params_overrides(overrides: Sequence[str]) -> list[str]:
    """The overrides of params.yaml among all."""
    return [override for file, override in map(split_file, overrides) if file == "params.yaml"]


def split_file(override: str) -> tuple[str, str]:
    """File and rest of an override: "conf/loss/kd.yaml:temperature=2" names the file, "distill.epochs=8" does not."""
    key, equals, value = override.partition("=")
    file, _, name = key.rpartition(":")
    return file or "params.yaml", f"{name}{equals}{value}"


def write_values(project: Path, name: str, overrides: Sequence[str]) -> None:
    """Write overrides into the yaml file `name`, which keeps its bytes if it has these values already.

    Raises:
        UserError: it has no such key.
    """
    file = project / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise UserError(f"-S {name}:{overrides[0]} names a file outside of the project, expected one in it")
    if file.is_symlink():  # the user's own, which git ignores
        write_atomically(file, file.read_bytes())
    try:
        before, content = parse_yaml(file, name), file.read_bytes()
        apply_overrides(file, overrides)
    except (DvcException, OSError) as error:
        raise UserError(f"-S {overrides[0]}: {error}; expected <key>=<value>, as distill.epochs=8") from error
    if parse_yaml(file, name) == before:
        file.write_bytes(content)


def reproduce(place: Worktree, force: bool) -> int:
    """Restore what DVC's cache holds of the outputs, and run the stages that are out of date; DVC's exit code."""
    if force:
        return run_dvc(place, "repro", "--force")
    run_dvc(place, "checkout", "--quiet", "--allow-missing", "--force")  # it would ask about outputs of a killed stage
    return run_dvc(place, "repro")


def run_dvc(place: Worktree, *arguments: str) -> int:
    """Run DVC on the code of a worktree; its exit code."""
    source = [str(place.project / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(source)}
    return wait_for(["dvc", *arguments], place.project, env, [place.lock])


def modified(file: Path) -> int:
    """When a file was modified, in nanoseconds; 0: there is none."""
    return file.stat().st_mtime_ns if file.exists() else 0


def show_result(place: Worktree, experiment: Experiment, restored: bool) -> None:
    """Complete the run of this invocation; print the result if it is restored: otherwise evaluate did.

    Raises:
        UserError: timings had to be measured again, and that failed.
    """
    with chdir(place.project):
        outbox.start()
        evaluate_run = producer("evaluate")
        measured = evaluate_run is not None and (not restored or timings_restored(evaluate_run))
        if not measured:
            print("No MLflow run of this store has the timings of this result: they are measured again.")
            if run_dvc(place, "repro", "--force", "--single-item", "evaluate"):
                raise UserError("evaluate failed, see above; correct that, and run the same command again")
        with parent(experiment.config) as invocation:  # dvc.lock is complete only now, so this is recorded in any case
            if restored and measured:
                print("evaluate did not have to run: its result is restored.")
                metrics, timings = report.read()
                report.log(invocation, metrics, timings)
                report.print_result(metrics, timings)
        outbox.finish()
        restore_provenance()
        if distill_run := producer("distill"):
            print(f"The student as an MLflow model: runs:/{distill_run.info.run_id}/student")


def timings_restored(evaluate_run: MlflowRun) -> bool:
    """Restore latency.json and report.md, which DVC does not cache, from the run that made metrics.json.

    False: the run does not have them, because somebody deleted them, or they wait in a queue.
    """
    try:
        for name in report.TIMED:
            mlflow.MlflowClient().download_artifacts(evaluate_run.info.run_id, name, str(report.OUT))
    except (MlflowException, OSError):
        return False
    return True


def location(name: str, reason: str) -> str:
    """Where the result is: in data/, or, for a `reason`, in a DVC experiment alone."""
    if not reason:
        return f"The result is in data/, its report in data/evaluate/report.md; it is the DVC experiment {name}, too."
    return f"The result is the DVC experiment {name}; data/ is as before ({reason}). Take it over: dvc exp apply {name}"
