"""What MLflow can be told of a run; each word may come late, and twice."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.tracking.context.registry import resolve_tags

from decant.serving import packaging
from decant.tracking.store import experiment, find

GIVEN: dict[str, str] = {}
"""By the name that a run goes by before MLflow has heard of it: the id that MLflow gave it."""
MARK = "decant.run"
"""The tag that holds this name."""
LATE = re.compile("late-[0-9a-f-]{36}")
"""Such a name."""


def tell(word: str, run_id: str, **values: Any) -> None:
    """Tell one.

    Raises:
        MlflowException: refused, or the store is away.
    """
    WORDS[word](run_id if word == "begin" else real(run_id), **values)


def anew(message: dict[str, Any]) -> dict[str, Any]:
    """A message that may have been heard in part, without what was."""
    if message["word"] != "metrics":
        return message
    seen = logged(real(message["run_id"]))
    return message | {"values": [v for v in message["values"] if (v[0], v[3]) not in seen]}


def logged(run_id: str) -> set[tuple[str, int]]:
    """Name and step of every metric that a run has."""
    client = mlflow.MlflowClient()
    names = client.get_run(run_id).data.metrics
    return {(name, m.step) for name in names for m in client.get_metric_history(run_id, name)}


def real(run_id: str) -> str:
    """MLflow's id of a run."""
    if LATE.fullmatch(run_id) and run_id not in GIVEN:
        for run in find(f"tags.`{MARK}` = '{run_id}'"):
            GIVEN[run_id] = run.info.run_id
    return GIVEN.get(run_id, run_id)


def begin(run_id: str, name: str, tags: dict[str, str], start: int, query: str | None) -> None:
    """Make a run, unless there is one that `query` finds: then it goes on."""
    client = mlflow.MlflowClient()
    tags = {k: LATE.sub(lambda name: real(name[0]), v) for k, v in tags.items()}
    query = query and LATE.sub(lambda name: real(name[0]), query)
    if found := find(query) if query else []:
        GIVEN[run_id] = found[0].info.run_id
        client.update_run(GIVEN[run_id], status="RUNNING")
        client.log_batch(GIVEN[run_id], tags=[RunTag(k, v) for k, v in tags.items()])
    elif real(run_id) == run_id:
        whole = resolve_tags({**tags, MARK: run_id})
        made = client.create_run(experiment().experiment_id, start_time=start, run_name=name, tags=whole)
        GIVEN[run_id] = made.info.run_id


def metrics(run_id: str, values: list[tuple[str, float, int, int]]) -> None:
    """Log name, value, time and step of each."""
    mlflow.MlflowClient().log_batch(run_id, metrics=[Metric(*v) for v in values])


def params(run_id: str, values: dict[str, str]) -> None:
    """Log those that the run does not have: one that changed is an error of MLflow's."""
    known = mlflow.MlflowClient().get_run(run_id).data.params
    fresh = [Param(k, v) for k, v in values.items() if k not in known]
    for start in range(0, len(fresh), 100):  # MLflow's limit per call
        mlflow.MlflowClient().log_batch(run_id, params=fresh[start : start + 100])


def tags(run_id: str, values: dict[str, str]) -> None:
    """Set tags."""
    mlflow.MlflowClient().log_batch(run_id, tags=[RunTag(k, v) for k, v in values.items()])


def artifact(run_id: str, path: str, folder: str | None) -> None:
    """Copy a file or the content of a folder to the run."""
    log = "log_artifacts" if Path(path).is_dir() else "log_artifact"
    getattr(mlflow.MlflowClient(), log)(run_id, path, folder)


def dataset(run_id: str, values: dict[str, str], split: str) -> None:
    """Name data as an input of the run."""
    given = DatasetInput(Dataset(**values), [InputTag("mlflow.data.context", split)])
    mlflow.MlflowClient().log_inputs(run_id, datasets=[given])


def model(run_id: str, path: str, name: str, examples: list[Any]) -> None:
    """Log a model directory as an MLflow model, unless that was done."""
    if not packaging.has_model(run_id, name):
        packaging.log_model(run_id, name, Path(path), examples)


def made(run_id: str, digests: dict[str, str]) -> None:
    """Describe the run of an invocation: which run made the output of each stage, in it or in an earlier one."""
    lines, by = ["| stage | made by |", "|---|---|"], {}
    for stage, digest in digests.items():
        for run in find(f"tags.`decant.digest` = '{digest}'")[:1]:
            link = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
            earlier = run.data.tags.get("mlflow.parentRunId") != run_id
            lines.append(f"| {stage} | [{run.info.run_name}]({link}){', restored' if earlier else ''} |")
            by[f"made.{stage}"] = run.info.run_id
    tags(run_id, {**by, "mlflow.note.content": "\n".join(lines), "data.digest": digests.get("prepare", "none")})


def end(run_id: str, status: str, time: int) -> None:
    """Close the run."""
    mlflow.MlflowClient().set_terminated(run_id, status, time)


WORDS: dict[str, Callable[..., None]] = {
    f.__name__: f for f in (begin, metrics, params, tags, artifact, dataset, model, made, end)
}
