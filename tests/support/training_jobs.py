"""Trainings as the stages start them, on what `tiny_project` writes."""

import dataclasses
from typing import Any

from decant import distill, fine_tune
from decant.distillation.student_training import StudentTraining
from decant.experiment.experiment import Experiment
from decant.tracking.runs import Run
from decant.training.job import TrainingJob
from support.experiments import experiment_of
from support.tiny_project import RUN_OVERRIDES, STAGE_OVERRIDES


def tiny_experiment(*overrides: str) -> Experiment:
    """An experiment on the CPU for what `tiny_project` writes."""
    return experiment_of(*RUN_OVERRIDES, *STAGE_OVERRIDES, *overrides)


def teacher_job(*overrides: str, run: Run | None = None, **attributes: Any) -> TrainingJob:
    """The training of the teacher; `attributes` of the job replace those of the experiment."""
    return dataclasses.replace(fine_tune.teacher_job(tiny_experiment(*overrides), run or Run()), **attributes)


def student_training(*overrides: str, run: Run | None = None) -> StudentTraining:
    """The training of the student."""
    return distill.student_training(tiny_experiment(*overrides), run or Run())
