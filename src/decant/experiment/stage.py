"""Runs a stage: its experiment from params.yaml and the command line, its MLflow run, its process."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from decant.core import valid_copies
from decant.core.files import check_writable
from decant.core.locks import exclusive
from decant.core.processes import rank
from decant.core.resume import STAGE_LOCK, state_dir
from decant.core.stage import keep_freed_memory, pin_threads, stage_process
from decant.experiment.experiment import Experiment
from decant.experiment.inputs import StageInputs
from decant.experiment.verification import verify_inputs
from decant.tracking import runs
from decant.tracking.runs import Run


def run_stage(name: str, main: Callable[[Experiment, Run], None]) -> None:
    """Run `main` as stage `name` with the overrides of the command line; see `stage_process` for exit codes.

    Nothing above this function sees a config: `main` gets the typed experiment.
    """
    with stage_process(name):
        inputs = StageInputs(name)
        experiment = Experiment.load(sys.argv[1:])
        check_writable(Path("data") / name)
        if rank() == 0:
            valid_copies.save()
            verify_inputs(name)
        pin_threads(experiment.trainer.threads)
        if name != "evaluate":  # it measures latency, with memory as a server has it
            keep_freed_memory()
        with working_folder(name), runs.stage(name, experiment.config, state_dir(name, experiment.config)) as run:
            main(experiment, run)
            inputs.check_unchanged()


def working_folder(name: str) -> AbstractContextManager[object]:
    """Keeps other stages out of this folder while the process with rank 0 runs one.

    Raises:
        UserError: another stage runs here.
    """
    return nullcontext() if rank() else exclusive(STAGE_LOCK, f"{name} cannot start: a stage is running here")
