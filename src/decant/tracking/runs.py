"""What a person sees in MLflow: one parent run per invocation of the pipeline, a nested run per stage."""

import json
import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.data
import pandas as pd
import psutil

from decant.core import resume
from decant.core.errors import redacted
from decant.core.hashing import digest
from decant.core.processes import dvc_process, process_id, rank
from decant.tracking import events, outbox, provenance
from decant.tracking.store import find

SEEDS_RUN = "DECANT_SEEDS_RUN"
"""The variable that holds the id of a run of several seeds, while those run."""


class Run:
    """A run in the store; every method does nothing without one (`run_id` None: ranks above 0)."""

    def __init__(
        self, run_id: str | None = None, parent: "Run | None" = None, state: Path | None = None, again: bool = False
    ) -> None:
        self.run_id, self.parent = run_id, parent
        self.state = state
        """Where what it trains is kept meanwhile; none: nowhere."""
        self.again = again
        """Whether it goes on with a run that was killed."""
        self.seen: set[tuple[str, int]] = set()
        if again:  # while the store is away, `messages.anew` looks for them
            self.seen = outbox.asked(lambda: events.logged(str(run_id)), self.seen)

    def say(self, word: str, **values: Any) -> None:
        """Tell MLflow (see deliver.py)."""
        if self.run_id:
            outbox.mine().say(word, self.run_id, **values)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log `values` as one batch; those that were logged before a kill stay as they are."""
        now = milliseconds()
        self.say("metrics", values=[(k, float(v), now, step) for k, v in values.items() if (k, step) not in self.seen])

    def params(self, values: Any) -> None:
        """Log a config as dotted parameters."""
        self.say("params", values=flatten(values))

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags."""
        self.say("tags", values={k: str(v) for k, v in values.items()})

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or the content of a folder to the run."""
        self.say("artifact", path=str(path), folder=folder)

    def dataset(self, frame: pd.DataFrame, split: str, sha256: str) -> None:
        """Name a split as an input of the run; `sha256` of its table says which data."""
        # a path would say which machine; MLflow's own digest leaves out images, and takes 36 characters at most
        source = mlflow.data.code_dataset_source.CodeDatasetSource({"decant.split": split})
        data = mlflow.data.from_pandas(frame, source=source, targets="target", name=split, digest=sha256[:32])
        self.say("dataset", values=dict(data._to_mlflow_entity()), split=split)

    def model(self, name: str, folder: Path, examples: list[Any]) -> None:
        """Log the model directory as an MLflow model, with `examples` of inputs, unless that was done before a kill."""
        self.say("model", path=str(folder), name=name, examples=examples)

    @contextmanager
    def child(self, name: str) -> Iterator["Run"]:
        """A run nested in this one, closed when the block ends, however it ends."""
        kept = self.state and self.state / name.replace(" ", "_")
        if not self.run_id:
            yield Run(parent=self, state=kept)
            return
        query = f"tags.`mlflow.parentRunId` = '{self.run_id}' and attributes.run_name = '{name}'"
        with opened(name, {"mlflow.parentRunId": self.run_id}, query if self.again else None) as run_id:
            yield Run(run_id, self, kept, again=self.again)


@contextmanager
def opened(name: str, tags: Mapping[str, str], query: str | None = None) -> Iterator[str]:
    """The id of a run, closed when the block ends, however it ends: a new one, or the one that `query` finds."""
    run_id = f"late-{uuid.uuid4()}"
    run = Run(run_id)
    run.say("begin", name=name, tags={**tags, "decant.process": process_id()}, start=milliseconds(), query=query)
    run_id = events.GIVEN.get(run_id, run_id)
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        run.say("end", status=status, time=milliseconds())


def milliseconds() -> int:
    """Now, as MLflow has times."""
    return int(time.time() * 1000)


@contextmanager
def stage(name: str, config: Mapping[str, Any], state_dir: Path) -> Iterator[Run]:
    """The nested run of a stage, inside the parent run of this invocation.

    Raises:
        UserError: a store that cannot be used, before any work.
    """
    kept = state_dir
    if rank():
        yield Run(state=kept)
        return
    provenance.recorded()  # a file that cannot be read costs no work
    outbox.ready()
    known = killed(kept)
    resume.open_state(kept)
    try:
        with parent(config, known) as whole, stage_run(name, whole, known, kept) as run:
            run.params({k: config[k] for k in (name, "use", "seed", "trainer") if k in config})
            yield run
            made, where = digest(output(name)), provenance.environment(config["trainer"])
            run.tags({"decant.digest": made, "decant.environment": json.dumps(where)})
            if "DVC_STAGE" in os.environ:  # by hand it is no part of what dvc.lock records
                provenance.record(name, made, where)
    finally:
        outbox.close()
    if name == "evaluate" or "DVC_STAGE" not in os.environ:  # by hand there is nobody who would still take the output
        resume.clear_states()


@contextmanager
def stage_run(name: str, whole: Run, known: Any, kept: Path) -> Iterator[Run]:
    """That of a stage, new or `known`; its state finds it from its first moment: it may be killed in the next."""
    tags = {"mlflow.parentRunId": str(whole.run_id), "decant.stage": name, "decant.state": resume.state_id(kept)}
    query = f"attributes.run_id = '{known.info.run_id}'" if known else None
    with opened(name.replace("_", "-"), tags, query) as run_id:
        yield Run(run_id, whole, kept, again=known is not None)


def killed(kept: Path) -> Any:
    """The run of a stage that was killed, whose state is kept there; None: there is none in this store."""
    found = find(f"tags.`decant.state` = '{resume.state_id(kept)}'") if kept.exists() else []
    return found[0] if found else None


@contextmanager
def parent(config: Mapping[str, Any], killed: Any = None) -> Iterator[Run]:
    """The run of this invocation, found or made; RUNNING only while a stage is. `deliver.ready` comes before.

    `killed`: the run of a stage, of an earlier invocation, that goes on in this one, and its parent with it.
    """
    key = invocation()
    query = f"tags.`decant.invocation` = '{key}'"
    if killed and "mlflow.parentRunId" in killed.data.tags and not find(query):
        mlflow.MlflowClient().set_tag(killed.data.tags["mlflow.parentRunId"], "decant.invocation", key)
    with opened(title(config), {"decant.invocation": key, **above()}, query) as run_id:
        run = Run(run_id)
        run.params(config)
        run.tags(provenance.provenance())
        try:
            yield run
        finally:
            run.say("made", digests={s: digest(output(s)) for s in resume.UPSTREAM if output(s).exists()})


def title(config: Mapping[str, Any]) -> str:
    """An experiment in a few words: the name of its run."""
    use = config["use"]
    return f"{use['data']}: {use['teacher']} > {use['student']}, {use['loss']}"


def above() -> dict[str, str]:
    """The tag of a run that holds several invocations, if there is one: `SEEDS_RUN` says which."""
    run_id = os.environ.get(SEEDS_RUN)
    return {"mlflow.parentRunId": run_id} if run_id else {}


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} → {"a.b": "1"}; credentials in URIs are left out."""
    if not isinstance(value, dict):
        return {prefix: redacted(str(value))[:6000]}
    return {
        k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}.{key}" if prefix else str(key)).items()
    }  # fmt: skip


def invocation() -> str:
    """What tells one invocation of the pipeline from another.

    `DECANT_INVOCATION` (`make experiment` sets it), else the DVC process above this one, else this process.
    """
    if given := os.environ.get("DECANT_INVOCATION"):
        return given
    top = dvc_process() or psutil.Process()
    return f"{platform.node()} {top.pid} {top.create_time()}"


def output(name: str) -> Path:
    """What stands for the output of a stage: its folder, or the part of it that is the same bytes again."""
    return Path("data/evaluate/metrics.json") if name == "evaluate" else Path("data") / name


def made_by(name: str) -> Any:
    """The run that made the output of stage `name` that lies here now; None: not a run of this store."""
    if not output(name).exists():
        return None
    found = find(f"tags.`decant.digest` = '{digest(output(name))}'")
    return found[0] if found else None


def recorded() -> None:
    """Bring provenance.json up to outputs that DVC restored, by the runs that made them."""
    known = provenance.recorded()
    for name in resume.UPSTREAM:
        if output(name).exists() and known.get(name, {}).get("digest") != digest(output(name)):
            made = made_by(name)
            if made is not None and "decant.environment" in made.data.tags:
                where = json.loads(made.data.tags["decant.environment"])
                provenance.record(name, made.data.tags["decant.digest"], where)
