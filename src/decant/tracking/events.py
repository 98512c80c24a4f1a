"""Events of a run, one class per kind: what each sends to MLflow.

An event may be delivered late, after an outage, and twice, after a crash during its delivery: a second delivery
changes nothing. Times are in milliseconds since the epoch.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.tracking.context.registry import resolve_tags

from decant.serving import packaging
from decant.tracking import run_ids
from decant.tracking.encoding import decode_bytes, encode_bytes
from decant.tracking.outputs import with_digest
from decant.tracking.store import PARENT_TAG, experiment

MAX_PARAMS = 100
"""MLflow's limit on the parameters of one request."""
_logged: dict[str, set[tuple[str, int]]] = {}
"""Name and step of the metrics of each run, as far as this process knows them."""


@dataclass(frozen=True)
class Event(ABC):
    """Something to record in MLflow about one run."""

    run_id: str
    """MLflow's id, or a provisional id."""

    @abstractmethod
    def deliver(self) -> None:
        """Send it to MLflow.

        Raises:
            MlflowException: MLflow refuses it, or the store is unavailable; a client library may raise its own error.
        """

    def to_json(self) -> str:
        """One line; see `parse`."""
        return json.dumps({"kind": type(self).__name__, **vars(self)}, default=encode_bytes)


@dataclass(frozen=True)
class StartRun(Event):
    """Create a run, or continue the run that has this provisional id."""

    name: str
    tags: Mapping[str, str]
    start_time: int

    def deliver(self) -> None:
        """See `Event.deliver`."""
        tags = {k: run_ids.resolve_in(v) for k, v in self.tags.items()}
        run_id = run_ids.resolve(self.run_id)
        if run_id == self.run_id:
            self._create(tags)
        else:
            SetTags(run_id, tags).deliver()  # first: a run is RUNNING only with the lease of a living process
            mlflow.MlflowClient().update_run(run_id, status="RUNNING")

    def _create(self, tags: Mapping[str, str]) -> None:
        run: Run = mlflow.MlflowClient().create_run(
            experiment().experiment_id,
            start_time=self.start_time,
            run_name=self.name,
            tags=resolve_tags({**tags, run_ids.TAG: self.run_id}),
        )
        run_ids.assign(self.run_id, run.info.run_id)


@dataclass(frozen=True)
class LogMetrics(Event):
    """Log the metrics that the run does not have at this step, as one batch: MLflow would store a second point."""

    metrics: Mapping[str, float]
    timestamp: int
    step: int

    def deliver(self) -> None:
        """See `Event.deliver`."""
        run_id = run_ids.resolve(self.run_id)
        logged = _logged.pop(run_id, None) or logged_metrics(run_id)  # if this fails, what arrived is unknown again
        missing = {name: value for name, value in self.metrics.items() if (name, self.step) not in logged}
        if missing:
            batch = [Metric(name, value, self.timestamp, self.step) for name, value in missing.items()]
            mlflow.MlflowClient().log_batch(run_id, metrics=batch)
        _logged[run_id] = logged | {(name, self.step) for name in missing}


@dataclass(frozen=True)
class LogParams(Event):
    """Log the parameters that the run does not have yet: MLflow refuses to change one."""

    params: Mapping[str, str]

    def deliver(self) -> None:
        """See `Event.deliver`."""
        client, run_id = mlflow.MlflowClient(), run_ids.resolve(self.run_id)
        known = client.get_run(run_id).data.params
        missing = [Param(name, value) for name, value in self.params.items() if name not in known]
        for start in range(0, len(missing), MAX_PARAMS):
            client.log_batch(run_id, params=missing[start : start + MAX_PARAMS])


@dataclass(frozen=True)
class SetTags(Event):
    """Set tags."""

    tags: Mapping[str, str]

    def deliver(self) -> None:
        """See `Event.deliver`."""
        tags = [RunTag(name, value) for name, value in self.tags.items()]
        mlflow.MlflowClient().log_batch(run_ids.resolve(self.run_id), tags=tags)


@dataclass(frozen=True)
class FileEvent(Event):
    """An event with a file or folder; the outbox keeps a copy of it until the event is delivered."""

    path: str


@dataclass(frozen=True)
class LogArtifact(FileEvent):
    """Upload a file, or the content of a folder, to `artifact_path` of the run."""

    artifact_path: str | None = None

    def deliver(self) -> None:
        """See `Event.deliver`."""
        client = mlflow.MlflowClient()
        log = client.log_artifacts if Path(self.path).is_dir() else client.log_artifact
        log(run_ids.resolve(self.run_id), self.path, self.artifact_path)


@dataclass(frozen=True)
class LogDataset(Event):
    """Record a dataset as an input of the run."""

    dataset: Mapping[str, str]
    """Fields of `mlflow.entities.Dataset`."""
    split: str

    def deliver(self) -> None:
        """See `Event.deliver`."""
        dataset = DatasetInput(Dataset(**self.dataset), [InputTag("mlflow.data.context", self.split)])
        mlflow.MlflowClient().log_inputs(run_ids.resolve(self.run_id), datasets=[dataset])


@dataclass(frozen=True)
class LogModel(FileEvent):
    """Log a model directory as an MLflow model, unless the run has a model of that name."""

    name: str
    examples: Sequence[str | bytes | Mapping[str, str]]
    """Inputs of the model: texts, pairs of texts, or the bytes of image files."""

    def deliver(self) -> None:
        """See `Event.deliver`."""
        run_id = run_ids.resolve(self.run_id)
        if not packaging.has_model(run_id, self.name):
            packaging.log_model(run_id, self.name, Path(self.path), list(self.examples))


@dataclass(frozen=True)
class DescribeInvocation(Event):
    """Link the run of an invocation to the runs, of this invocation or an earlier one, that produced the outputs."""

    digests: Mapping[str, str]
    """The digest of each output that it made or used, by stage."""
    by_hand: bool
    """Whether it is one stage without DVC: then what earlier invocations made was read, not restored."""

    def deliver(self) -> None:
        """See `Event.deliver`."""
        run_id = run_ids.resolve(self.run_id)
        producers = {stage: run for stage, value in self.digests.items() if (run := with_digest(value))}
        if self.by_hand:
            producers = {stage: run for stage, run in producers.items() if _is_child(run, run_id)}
        rows = [_row(stage, run, run_id) for stage, run in producers.items()]
        tags = {f"produced_by.{stage}": run.info.run_id for stage, run in producers.items()}
        note = "\n".join(["| stage | produced by |", "|---|---|", *rows]) if rows else "No stage has ended well."
        data_digest = self.digests.get("prepare", "none")
        SetTags(run_id, {**tags, "mlflow.note.content": note, "data.digest": data_digest}).deliver()


@dataclass(frozen=True)
class EndRun(Event):
    """Close the run."""

    status: str
    """`FINISHED`, `FAILED` or `KILLED`."""
    end_time: int

    def deliver(self) -> None:
        """See `Event.deliver`."""
        mlflow.MlflowClient().set_terminated(run_ids.resolve(self.run_id), self.status, self.end_time)


_KINDS = (StartRun, LogMetrics, LogParams, SetTags, LogArtifact, LogDataset, LogModel, DescribeInvocation, EndRun)
KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in _KINDS}
"""Event classes by `kind`, as `parse` reads it."""


def parse(line: str | bytes) -> Event:
    """The event that `Event.to_json` wrote.

    Raises:
        ValueError: not JSON, an unknown kind, or other fields than that kind has.
    """
    try:
        fields = json.loads(line, object_hook=decode_bytes)
        return KINDS[fields.pop("kind")](**fields)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not an event of this version of decant: {error!r}") from error


def logged_metrics(run_id: str) -> set[tuple[str, int]]:
    """Name and step of every metric that a run has."""
    client = mlflow.MlflowClient()
    names = client.get_run(run_id).data.metrics
    return {(name, metric.step) for name in names for metric in client.get_metric_history(run_id, name)}


def _is_child(run: Run, parent_id: str) -> bool:
    return run.data.tags.get(PARENT_TAG) == parent_id


def _row(stage: str, producer: Run, parent_id: str) -> str:
    link = f"#/experiments/{producer.info.experiment_id}/runs/{producer.info.run_id}"
    restored = "" if _is_child(producer, parent_id) else ", restored"
    return f"| {stage} | [{producer.info.run_name}]({link}){restored} |"
