"""Runs as the MLflow UI shows them: one parent run per invocation of the pipeline, a nested run per stage."""

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.data
import pandas as pd
import psutil

from decant.core import resume
from decant.core.hashing import digest
from decant.core.processes import dvc_process, process_id, rank
from decant.core.redaction import redacted, redacted_values
from decant.tracking import events, outbox, outputs, provenance, run_ids, store
from decant.tracking.store import PARENT_TAG

SEEDS_RUN = "DECANT_SEEDS_RUN"
"""The environment variable with the id of the run over several seeds, while those run."""
MAX_PARAM_LENGTH = 6000
"""MLflow's limit on the characters of a parameter."""


class Run:
    """A run in MLflow; without a `run_id` (ranks above 0) every method does nothing."""

    def __init__(
        self,
        run_id: str | None = None,
        parent: "Run | None" = None,
        state_dir: Path | None = None,
        resumed: bool = False,
    ) -> None:
        self.run_id, self.parent = run_id, parent
        self.state_dir = state_dir
        """Where training saves its resume state; None: nowhere."""
        self.resumed = resumed
        """Whether this continues a run that was interrupted."""
        self._logged: set[tuple[str, int]] = set()
        # an id is provisional while the store is unavailable: then `LogMetrics.redeliver` looks for them
        if run_id and resumed and not run_ids.is_provisional(run_id):
            self._logged = store.ask(lambda: events.logged_metrics(run_id), self._logged)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics as one batch; those that were logged before an interruption stay as they are."""
        if self.run_id:
            values = {name: float(v) for name, v in metrics.items() if (name, step) not in self._logged}
            outbox.send(events.LogMetrics(self.run_id, values, milliseconds(), step))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a nested mapping as parameters with dotted names."""
        if self.run_id:
            outbox.send(events.LogParams(self.run_id, flatten(params)))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags."""
        if self.run_id:
            outbox.send(events.SetTags(self.run_id, {name: redacted(str(value)) for name, value in tags.items()}))

    def log_artifact(self, path: Path, artifact_path: str | None = None) -> None:
        """Upload a file, or the content of a folder, to `artifact_path` of the run."""
        if self.run_id:
            outbox.send(events.LogArtifact(self.run_id, str(path), artifact_path))

    def log_dataset(self, frame: pd.DataFrame, split: str, sha256: str) -> None:
        """Record a split as an input of the run; `sha256`: of its table."""
        if not self.run_id:
            return
        # a path as the source would differ between machines
        source = mlflow.data.code_dataset_source.CodeDatasetSource({"decant.split": split})
        # MLflow's own digest ignores images; it takes at most 36 characters
        data = mlflow.data.from_pandas(frame, source=source, targets="target", name=split, digest=sha256[:32])
        outbox.send(events.LogDataset(self.run_id, dict(data._to_mlflow_entity()), split))

    def log_model(self, name: str, folder: Path, examples: Sequence[Any]) -> None:
        """Log a model directory, with `examples` of inputs, unless that was done before an interruption."""
        if self.run_id:
            outbox.send(events.LogModel(self.run_id, str(folder), name, examples))

    @contextmanager
    def child(self, name: str) -> Iterator["Run"]:
        """A run nested in this one, closed at the end of the block, also after an error."""
        state_dir = self.state_dir and self.state_dir / name.replace(" ", "_")
        if not self.run_id:
            yield Run(parent=self, state_dir=state_dir)
            return
        query = f"tags.`{PARENT_TAG}` = '{self.run_id}' and attributes.run_name = '{name}'"
        with open_run(name, {PARENT_TAG: self.run_id}, query if self.resumed else None) as run_id:
            yield Run(run_id, self, state_dir, self.resumed)


@contextmanager
def open_run(name: str, tags: Mapping[str, str], query: str | None = None) -> Iterator[str]:
    """The id of a new run, or of the run that `query` finds; closed at the end of the block, also after an error."""
    run_id = run_ids.provisional()
    outbox.send(events.StartRun(run_id, name, {**tags, "decant.process": process_id()}, milliseconds(), query))
    run_id = run_ids.assigned(run_id)
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        outbox.send(events.EndRun(run_id, status, milliseconds()))


@contextmanager
def stage(name: str, config: Mapping[str, Any], state_dir: Path) -> Iterator[Run]:
    """The nested run of a stage, inside the parent run of this invocation.

    `config`: the whole resolved config. `state_dir`: where the stage saves its resume state.

    Raises:
        UserError: the store cannot be used, or provenance.json cannot be read; both before any work.
    """
    if rank():
        yield Run(state_dir=state_dir)
        return
    provenance.read()
    outbox.start()
    interrupted = interrupted_run(state_dir)
    resume.open_state(state_dir)
    try:
        with parent(config, interrupted) as parent_run, _stage_run(name, parent_run, interrupted, state_dir) as run:
            run.log_params({key: config[key] for key in (name, "use", "seed", "trainer") if key in config})
            yield run
            _record_output(run, name, provenance.environment(config["trainer"]))
    finally:
        outbox.finish()
    if name == "evaluate" or not _under_dvc():  # without DVC, the output is final as soon as the stage ends
        resume.clear_states()


@contextmanager
def parent(config: Mapping[str, Any], interrupted: mlflow.entities.Run | None = None) -> Iterator[Run]:
    """The run of this invocation, created or continued; RUNNING only inside the block. `outbox.start` comes first.

    `interrupted`: a stage's run of an earlier invocation; its parent becomes the run of this invocation.
    """
    key = invocation()
    query = f"tags.`decant.invocation` = '{key}'"
    if interrupted and PARENT_TAG in interrupted.data.tags and not store.find(query):
        mlflow.MlflowClient().set_tag(interrupted.data.tags[PARENT_TAG], "decant.invocation", key)
    with open_run(title(config), {"decant.invocation": key, **_seeds_tag()}, query) as run_id:
        run = Run(run_id)
        run.log_params(config)
        run.set_tags(provenance.run_tags())
        try:
            yield run
        finally:
            outbox.send(events.DescribeInvocation(run_id, outputs.digests()))


def title(config: Mapping[str, Any]) -> str:
    """The name of an experiment's run: its data, models and loss."""
    use = config["use"]
    return f"{use['data']}: {use['teacher']} > {use['student']}, {use['loss']}"


def interrupted_run(state_dir: Path) -> mlflow.entities.Run | None:
    """The run whose resume state is in `state_dir`; None: there is no state, or no such run in this store."""
    runs = store.find(f"tags.`decant.state` = '{resume.state_id(state_dir)}'") if state_dir.exists() else []
    return runs[0] if runs else None


def invocation() -> str:
    """The key of this invocation of the pipeline.

    `DECANT_INVOCATION` (`make experiment` sets it), else the DVC process that started this one, else this process.
    """
    if key := os.environ.get("DECANT_INVOCATION"):
        return key
    process = dvc_process() or psutil.Process()
    return f"{platform.node()} {process.pid} {process.create_time()}"


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} → {"a.b": "1"}; without credentials."""
    if not isinstance(value, Mapping):
        return {prefix: str(redacted_values(value))[:MAX_PARAM_LENGTH]}
    names = {key: f"{prefix}.{key}" if prefix else str(key) for key in value}
    return {name: text for key, item in value.items() for name, text in flatten(item, names[key]).items()}


def milliseconds() -> int:
    """The current time in milliseconds since the epoch."""
    return int(time.time() * 1000)


@contextmanager
def _stage_run(name: str, parent_run: Run, interrupted: mlflow.entities.Run | None, state_dir: Path) -> Iterator[Run]:
    """The run of a stage, new or continued.

    The tag that links it to its resume state is set when the run is created: it may be killed right after.
    """
    tags = {PARENT_TAG: str(parent_run.run_id), "decant.stage": name, "decant.state": resume.state_id(state_dir)}
    query = f"attributes.run_id = '{interrupted.info.run_id}'" if interrupted else None
    with open_run(name.replace("_", "-"), tags, query) as run_id:
        yield Run(run_id, parent_run, state_dir, resumed=interrupted is not None)


def _record_output(run: Run, name: str, environment: Mapping[str, str]) -> None:
    output_digest = digest(outputs.output_path(name))
    run.set_tags({"decant.digest": output_digest, outputs.ENVIRONMENT_TAG: json.dumps(environment)})
    if _under_dvc():  # else it is not an output that dvc.lock records
        provenance.record(name, output_digest, environment)


def _under_dvc() -> bool:
    return "DVC_STAGE" in os.environ


def _seeds_tag() -> dict[str, str]:
    """The parent tag of an invocation that is one of several seeds."""
    run_id = os.environ.get(SEEDS_RUN)
    return {PARENT_TAG: run_id} if run_id else {}
