"""`decant doctor`: finds what a kill, a full disk or a flipped bit left in a project, and heals it when asked to.

Without --heal it changes nothing. Nothing is deleted: what is damaged moves to .state/quarantine.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dvc.exceptions import DvcException
from rich.table import Table
from rich.text import Text

from decant.commands.checks import cache, git, locks, models, records, tracking
from decant.commands.checks.finding import Finding
from decant.core.errors import UserError
from decant.core.stage import configure_libraries
from decant.evaluation.report import terminal

CHECKS: tuple[Callable[[], Iterable[Finding]], ...] = (
    locks.check,  # first: it blocks DVC, which later checks ask
    records.check,
    cache.check_objects,
    cache.check_outputs,
    models.check,
    tracking.check,
    git.check_result,
    git.check_worktrees,
    git.check_head,
    git.check_stash,
)
"""In the order in which they are healed: what an earlier one restores, a later one reads."""


def run(heal: bool) -> int:
    """Print the problems of the project here; 0 if none is left, else 1.

    Raises:
        UserError: this is no project, or, with `heal`, DVC works in it.
    """
    configure_libraries()
    if not Path(".dvc").is_dir():
        raise UserError("there is no folder .dvc here; run decant doctor in the folder of a project")
    if heal and (user := locks.working()):
        raise UserError(f"{user} works in this project; wait for its end, then run decant doctor --heal again")
    left = [finding for check in CHECKS for finding in examine(check, heal)]
    if left:
        print_table(left)
    else:
        print("no problems")
    return int(bool(left))


def print_table(findings: Sequence[Finding]) -> None:
    """Print problems with their remedies."""
    table = Table("problem", "remedy", title=Text(f"problems: {len(findings)}"), show_lines=True)
    for finding in findings:
        table.add_row(Text(finding.problem), Text(finding.remedy))
    terminal().print(table)


def examine(check: Callable[[], Iterable[Finding]], heal: bool) -> list[Finding]:
    """The problems that a check finds and, with `heal`, that are left."""
    try:
        findings, left = list(check()), []
    except (UserError, DvcException) as error:  # the other checks go on
        return [Finding(f"{check.__name__.replace('_', ' ')}: {error}", "correct that, and run decant doctor again")]
    healable = [finding.heal for finding in findings if finding.heal] if heal else []
    for function in dict.fromkeys(healable):
        try:
            print(function())
        except UserError as error:
            parts = (problem.partition("; ") for problem in error.problems)
            left += [Finding(problem, remedy) for problem, _, remedy in parts]
    return [*left, *check()] if healable else findings
