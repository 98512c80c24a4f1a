"""The model directories and tables here, against the digests that the stages wrote beside them."""

from collections.abc import Iterator

from decant.commands.checks.finding import Finding
from decant.core.errors import UserError
from decant.core.resume import UPSTREAM
from decant.experiment.verification import damaged_data, damaged_models


def check() -> Iterator[Finding]:
    """Files that are not what a stage wrote; those that DVC's cache restores are healed before."""
    stages = tuple(UPSTREAM)
    for function in (damaged_data, damaged_models):
        try:
            problems = list(function(stages))
        except UserError as error:
            problems = error.problems
        except FileNotFoundError as error:
            problems = [f"{error.filename} is missing"]
        yield from (Finding(problem.partition(";")[0], "make it again: dvc repro") for problem in problems)
