"""Runs as the MLflow UI shows them: one parent run per invocation of the pipeline, a nested run per stage."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.data
import pandas as pd

from decant.core import resume
from decant.core.hashing import digest
from decant.core.processes import dvc_process, process_id, rank
from decant.core.redaction import redacted
from decant.tracking import events, invocations, leases, outbox, outputs, provenance, run_ids
from decant.tracking.encoding import flatten
from decant.tracking.store import PARENT_TAG

SEEDS_RUN = "DECANT_SEEDS_RUN"
"""The environment variable with the id of the run over several seeds, while those run."""
INVOCATION = "DECANT_INVOCATION"
"""The environment variable with what identifies an invocation of `decant experiment`, while its stages run."""


class Run:
    """A run in MLflow; without a `run_id` (ranks above 0) every method does nothing."""

    def __init__(
        self,
        run_id: str | None = None,
        parent: "Run | None" = None,
        state_dir: Path | None = None,
        key: str | None = None,
    ) -> None:
        self.run_id, self.parent = run_id, parent
        self.state_dir = state_dir
        """Where training saves its resume state; None: nowhere."""
        self.key = key or run_id
        """The provisional id: the same in the process that continues this run."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics as one batch; those that the run has at this step stay as they are."""
        if self.run_id:
            values = {name: float(value) for name, value in metrics.items()}
            outbox.send(events.LogMetrics(self.run_id, values, milliseconds(), step))

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log a nested mapping as parameters with dotted names."""
        if self.run_id:
            outbox.send(events.LogParams(self.run_id, flatten(params)))

    def set_tags(self, tags: Mapping[str, object]) -> None:
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
        key = run_ids.provisional(str(self.key), name)
        with open_run(name, {PARENT_TAG: self.run_id}, key) as run_id:
            yield Run(run_id, self, state_dir, key)


@contextmanager
def open_run(name: str, tags: Mapping[str, str], key: str | None = None) -> Iterator[str]:
    """The id of a run, closed at the end of the block, also after an error.

    `key`: the provisional id; the run that has it is continued. By default the run is new.
    """
    key = key or run_ids.provisional()
    outbox.send(events.StartRun(key, name, {**tags, **leases.tags()}, milliseconds()))
    run_id = run_ids.assigned(key)
    status = "FAILED"
    try:
        with leases.renewal.of(run_id):
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
        UserError: the store or git cannot be used, or provenance.json cannot be read; all before any work.
    """
    if rank():
        yield Run(state_dir=state_dir)
        return
    provenance.check_git()
    provenance.read()
    outbox.start()
    resume.open_state(state_dir)
    try:
        with _invocation(config, name) as parent_run, _stage_run(name, parent_run, state_dir) as run:
            run.log_params({key: config[key] for key in (name, "use", "seed", "trainer") if key in config})
            yield run
            _record_output(run, name, provenance.environment(config["trainer"]))
    finally:
        outbox.finish()
    if name == "evaluate" or not _under_dvc():  # without DVC, the output is final as soon as the stage ends
        resume.clear_states()
        if not _in_experiment():
            invocations.finish(str(parent_run.key))


@contextmanager
def parent(config: Mapping[str, object]) -> Iterator[Run]:
    """The run of this invocation after its last stage, created or continued. `outbox.start` comes first."""
    with _invocation(config) as run:
        yield run
    invocations.finish(str(run.key))


def title(config: Mapping[str, Any]) -> str:
    """The name of an experiment's run: its data, models and loss."""
    use = config["use"]
    return f"{use['data']}: {use['teacher']} > {use['student']}, {use['loss']}"


def launcher() -> str:
    """What started the stages of this invocation: those that it starts share a parent run.

    `INVOCATION` if it is set, else the DVC process that started this one, else this process.
    """
    process = dvc_process()
    return os.environ.get(INVOCATION) or process_id(process.pid if process else None)


def milliseconds() -> int:
    """The current time in milliseconds since the epoch."""
    return int(time.time() * 1000)


@contextmanager
def _invocation(config: Mapping[str, object], stage: str | None = None) -> Iterator[Run]:
    """The parent run, RUNNING only inside the block; `stage`: the one that runs, None: all stages are up to date."""
    by_hand = stage is not None and not _under_dvc() and not _in_experiment()
    invocation = invocations.claim(launcher(), _work(config, str(stage) if by_hand else ""))
    name = f"{str(stage).replace('_', '-')} by hand: {title(config)}" if by_hand else title(config)
    described = outputs.inputs(stage) if stage else list(resume.UPSTREAM)
    tags = {"decant.invocation": invocation.launcher, "decant.by_hand": str(by_hand), **_seeds_tag()}
    with open_run(name, tags, invocation.run) as run_id:
        run = Run(run_id, key=invocation.run)
        run.log_params(config)
        run.set_tags(provenance.run_tags())
        try:
            yield run
            described += [stage] if stage else []
        finally:
            outbox.send(events.DescribeInvocation(run_id, outputs.digests(described), by_hand))


def _work(config: Mapping[str, object], stage: str) -> str:
    """What decides the results of an invocation: another one that is interrupted in the same work is continued.

    An experiment works on a copy of the code, so that its first and its last process may see other code.
    """
    if _in_experiment():
        return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()
    # prepare reads no other stage's output: its fingerprint covers config, code, versions and processor alone
    return f"{stage} {resume.fingerprint('prepare', config)}"


@contextmanager
def _stage_run(name: str, parent_run: Run, state_dir: Path) -> Iterator[Run]:
    """The run of a stage, new or continued: its key belongs to the resume state."""
    key = run_ids.provisional(resume.state_id(state_dir))
    tags = {PARENT_TAG: str(parent_run.run_id), "decant.stage": name}
    with open_run(name.replace("_", "-"), tags, key) as run_id:
        yield Run(run_id, parent_run, state_dir, key)


def _record_output(run: Run, name: str, environment: Mapping[str, str]) -> None:
    output_digest = digest(outputs.output_path(name))
    run.set_tags({"decant.digest": output_digest, outputs.ENVIRONMENT_TAG: json.dumps(environment)})
    if _under_dvc():  # else it is not an output that dvc.lock records
        provenance.record(name, output_digest, environment)


def _under_dvc() -> bool:
    return "DVC_STAGE" in os.environ


def _in_experiment() -> bool:
    return bool(os.environ.get(INVOCATION))


def _seeds_tag() -> dict[str, str]:
    """The parent tag of an invocation that is one of several seeds."""
    run_id = os.environ.get(SEEDS_RUN)
    return {PARENT_TAG: run_id} if run_id else {}
