"""MLflow: events that wait or were refused, and runs of processes that have ended."""

import os
from collections.abc import Iterator

from decant.commands.checks.finding import HEAL, Finding
from decant.core import project
from decant.core.errors import UserError
from decant.tracking import leases, outbox, store
from decant.tracking.outbox import REFUSED, SET_ASIDE


def check() -> Iterator[Finding]:
    """Problems with the events that wait, and with the runs of this project."""
    if count := outbox.refused_count():
        remedy = (
            f"read the reasons in {outbox.folder() / REFUSED} and look into {SET_ASIDE}/ beside it, then delete both"
        )
        yield Finding(f"MLflow refused {count} events", remedy)
    if folders := outbox.pending_folders():
        yield Finding(f"events of {len(folders)} processes wait for MLflow", "decant deliver")
    if "MLFLOW_TRACKING_URI" not in os.environ and not (project.root() / "mlflow.db").exists():
        return
    try:
        store.connect()
        for run in leases.dead_runs():
            yield Finding(f"the process of the run {run.info.run_name} ({run.info.run_id}) ended", HEAL, close_runs)
    except UserError as error:
        yield from (Finding(problem, "then run decant doctor again") for problem in error.problems)


def close_runs() -> str:
    """Close the runs of processes that have ended."""
    leases.close_dead()
    return "runs of processes that have ended are marked as KILLED"
