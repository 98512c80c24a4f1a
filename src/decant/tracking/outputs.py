"""Which run produced the output of a stage: found by the digest of the output, a tag on the run."""

import json
from collections.abc import Iterable
from pathlib import Path

from mlflow.entities import Run

from decant.core import resume
from decant.core.hashing import digest
from decant.tracking import provenance
from decant.tracking.store import find

ENVIRONMENT_TAG = "decant.environment"


def output_path(stage: str) -> Path:
    """The part of a stage's output that has the same bytes after every run: its folder, or one file in it."""
    return Path("data/evaluate/metrics.json") if stage == "evaluate" else Path("data") / stage


def digests(stages: Iterable[str] = resume.UPSTREAM) -> dict[str, str]:
    """The digest of each of these stages' outputs, where there is one."""
    return {stage: digest(output_path(stage)) for stage in stages if output_path(stage).exists()}


def inputs(stage: str) -> list[str]:
    """The stages whose outputs a stage depends on, at any distance, in their order."""
    direct = resume.UPSTREAM[stage]
    needed = {*direct, *(name for upstream in direct for name in inputs(upstream))}
    return [name for name in resume.UPSTREAM if name in needed]


def with_digest(value: str) -> Run | None:
    """The newest run that produced an output with this digest; None: no run in this store did."""
    return next(iter(find(tags={"decant.digest": value})), None)


def producer(stage: str) -> Run | None:
    """The run that produced the output that `stage` has now; None: there is no output, or no such run in this store."""
    path = output_path(stage)
    return with_digest(digest(path)) if path.exists() else None


def restore_provenance() -> None:
    """Update provenance.json for outputs that DVC restored, from the runs that produced them."""
    recorded = provenance.read()
    for stage, value in digests().items():
        if recorded.get(stage, {}).get("digest") == value:
            continue
        run = with_digest(value)
        if run is not None and ENVIRONMENT_TAG in run.data.tags:
            provenance.record(stage, value, json.loads(run.data.tags[ENVIRONMENT_TAG]))
