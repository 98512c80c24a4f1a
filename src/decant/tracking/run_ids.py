"""Provisional run ids: events about a run can be queued before MLflow has created the run.

An id that belongs to a key finds the same run in another process: after a kill, a run is continued by its key.
"""

import json
import re
import uuid

from decant.tracking.store import find

TAG = "decant.run"
"""The tag of a run that holds its provisional id."""
_PROVISIONAL = re.compile("provisional-[0-9a-f-]{36}")
_assigned: dict[str, str] = {}
"""MLflow's run ids by provisional id, as far as this process knows them."""


def provisional(*key: str) -> str:
    """A new provisional id, or the one that belongs to a key."""
    return f"provisional-{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(key)) if key else uuid.uuid4()}"


def assign(provisional_id: str, run_id: str) -> None:
    """Remember the id that MLflow gave a run."""
    _assigned[provisional_id] = run_id


def assigned(run_id: str) -> str:
    """MLflow's id of a run if this process knows it, else `run_id` itself."""
    return _assigned.get(run_id, run_id)


def resolve(run_id: str) -> str:
    """MLflow's id of a run; asks the store about an unknown provisional id, and returns it if no run has it."""
    if _PROVISIONAL.fullmatch(run_id) and run_id not in _assigned:
        for run in find(tags={TAG: run_id}):
            assign(run_id, run.info.run_id)
    return assigned(run_id)


def resolve_in(text: str) -> str:
    """`text` with each provisional id in it resolved."""
    return _PROVISIONAL.sub(lambda match: resolve(match[0]), text)
