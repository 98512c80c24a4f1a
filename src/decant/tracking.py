"""What a person sees in MLflow: one parent run per invocation of the pipeline, a nested run per stage."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import pandas as pd
import psutil
from mlflow.entities import Metric, Param, RunTag
from omegaconf import DictConfig, OmegaConf

from decant import mlflow_model, state
from decant.provenance import digest, provenance
from decant.store import connect, find, owner, redacted

STAGES = ("prepare", "pretrain_load", "fine_tune", "distill", "evaluate")


def rank() -> int:
    """0 for the one process, among those that train together, that writes and logs.

    From the variables that launchers set, as Lightning reads them; importing Lightning takes seconds.
    """
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    number = next((int(os.environ[name]) for name in names if name in os.environ), 0)
    return number or int(os.environ.get("NODE_RANK", 0))


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
        self.seen = logged(run_id) if again and run_id else set()

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log `values` as one batch; those that were logged before a kill stay as they are."""
        if self.run_id:
            now = int(time.time() * 1000)
            batch = [Metric(k, float(v), now, step) for k, v in values.items() if (k, step) not in self.seen]
            mlflow.MlflowClient().log_batch(self.run_id, metrics=batch)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags."""
        if self.run_id:
            batch = [RunTag(k, str(v)) for k, v in values.items()]
            mlflow.MlflowClient().log_batch(self.run_id, tags=batch)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or the content of a folder to the run."""
        if self.run_id:
            log = "log_artifacts" if path.is_dir() else "log_artifact"
            getattr(mlflow.MlflowClient(), log)(self.run_id, str(path), folder)

    def dataset(self, frame: pd.DataFrame, split: str, sha256: str) -> None:
        """Name a split as an input of the run; `sha256` of its table says which data."""
        if self.run_id:
            # a path would say which machine; MLflow's own digest leaves out images, and takes 36 characters at most
            source = mlflow.data.code_dataset_source.CodeDatasetSource({"decant.split": split})
            data = mlflow.data.from_pandas(frame, source=source, targets="target", name=split, digest=sha256[:32])
            mlflow.log_input(data, context=split)

    def model(self, name: str, folder: Path, examples: list[Any]) -> None:
        """Log the model directory as an MLflow model, with `examples` of inputs, unless that was done before a kill."""
        if self.run_id and not (self.again and mlflow_model.exists(self.run_id, name)):
            mlflow_model.log(name, folder, examples)

    @contextmanager
    def child(self, name: str) -> Iterator["Run"]:
        """A run nested in this one, closed when the block ends, however it ends."""
        kept = self.state and self.state / name.replace(" ", "_")
        if not self.run_id:
            yield Run(parent=self, state=kept)
            return
        query = f"tags.`mlflow.parentRunId` = '{self.run_id}' and attributes.run_name = '{name}'"
        known = next((run.info.run_id for run in find(query)), None) if self.again else None
        with opened(name, known) as run_id:
            yield Run(run_id, self, kept, again=known is not None)


@contextmanager
def opened(name: str, known: str | None, tags: Mapping[str, Any] | None = None) -> Iterator[str]:
    """The id of a run nested in the one that is open, new or `known`; closed when the block ends, however it ends."""
    tags = {"mlflow.parentRunId": mlflow.active_run().info.run_id, **(tags or {}), **owner()}
    run = mlflow.start_run(run_id=known, run_name=None if known else name, nested=True, tags=tags)
    status = "FAILED"
    try:
        yield run.info.run_id
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def logged(run_id: str) -> set[tuple[str, int]]:
    """Name and step of every metric that a run has."""
    client = mlflow.MlflowClient()
    names = client.get_run(run_id).data.metrics
    return {(name, m.step) for name in names for m in client.get_metric_history(run_id, name)}


@contextmanager
def stage(name: str, cfg: DictConfig) -> Iterator[Run]:
    """The nested run of a stage, inside the parent run of this invocation.

    Raises:
        UserError: a store that cannot be used, before any work.
    """
    kept = state.place(name, cfg)
    if rank():
        yield Run(state=kept)
        return
    connect()
    known = killed(kept)
    state.begin(kept)
    above = known and known.data.tags.get("mlflow.parentRunId")
    tags = {"decant.stage": name, "decant.state": str(kept)}  # from its first moment: it may be killed in the next
    with (
        parent(cfg, above) as whole,
        opened(name.replace("_", "-"), known and known.info.run_id, tags) as run_id,
    ):
        run = Run(run_id, whole, kept, again=known is not None)
        log_config(run, {name: cfg.get(name, {}), "use": cfg.use, "seed": cfg.seed, "trainer": cfg.trainer})
        yield run
        run.tags({"decant.digest": digest(output(name))})
    if name == "evaluate" or "DVC_STAGE" not in os.environ:  # by hand there is nobody who would still take the output
        state.clear()


def killed(kept: Path) -> Any:
    """The run of a stage that was killed, whose state is kept there; None: there is none in this store."""
    found = find(f"tags.`decant.state` = '{kept}'") if kept.exists() else []
    return found[0] if found else None


@contextmanager
def parent(cfg: DictConfig, earlier: str | None = None) -> Iterator[Run]:
    """The run of this invocation, found or made; RUNNING only while a stage is.

    `earlier`: that of an invocation which was killed in the stage that goes on now.
    """
    connect()
    key = invocation()
    known = find(f"tags.`decant.invocation` = '{key}'")
    if earlier and not known:
        mlflow.MlflowClient().set_tag(earlier, "decant.invocation", key)
        known = [mlflow.get_run(earlier)]
    use = cfg.use
    name = f"{use.data}: {use.teacher} > {use.student}, {use.loss}"
    if known:
        mlflow.start_run(run_id=known[0].info.run_id)
    else:
        mlflow.start_run(run_name=name, tags={"decant.invocation": key, **owner()})
    run = Run(mlflow.active_run().info.run_id)
    status = "FAILED"
    try:
        log_config(run, cfg)
        run.tags({**owner(), **provenance()})
        yield run
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        try:
            note(run)
        finally:
            mlflow.end_run(status)


def log_config(run: Run, values: Any) -> None:
    """Log a config as dotted parameters, once: a parameter that changed is an error of MLflow's."""
    flat = flatten(OmegaConf.to_container(OmegaConf.create(values)))
    known = mlflow.MlflowClient().get_run(run.run_id).data.params
    fresh = [Param(k, v) for k, v in flat.items() if k not in known]
    for start in range(0, len(fresh), 100):  # MLflow's limit per call
        mlflow.MlflowClient().log_batch(run.run_id, params=fresh[start : start + 100])


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
    top = dvc() or psutil.Process()
    return f"{platform.node()} {top.pid} {top.create_time()}"


def dvc() -> psutil.Process | None:
    """The DVC process that this one is a stage of; None: it was started by hand."""
    above = psutil.Process().parents() if "DVC_STAGE" in os.environ else []
    return next((p for p in above if any(Path(word).name.startswith("dvc") for word in p.cmdline()[:3])), None)


def output(name: str) -> Path:
    """What stands for the output of a stage: its folder, or the part of it that is the same bytes again."""
    return Path("data/evaluate/metrics.json") if name == "evaluate" else Path("data") / name


def made_by(name: str) -> Any:
    """The run that made the output of stage `name` that lies here now; None: not a run of this store."""
    if not output(name).exists():
        return None
    found = find(f"tags.`decant.digest` = '{digest(output(name))}'")
    return found[0] if found else None


def note(run: Run) -> None:
    """Describe the parent: which run made each stage's output, in this invocation or an earlier one."""
    lines = ["| stage | made by |", "|---|---|"]
    for name in STAGES:
        if made := made_by(name):
            link = f"#/experiments/{made.info.experiment_id}/runs/{made.info.run_id}"
            earlier = made.data.tags.get("mlflow.parentRunId") != run.run_id
            lines.append(f"| {name} | [{made.info.run_name}]({link}){', restored' if earlier else ''} |")
            run.tags({f"made.{name}": made.info.run_id})
    data = digest(output("prepare")) if output("prepare").exists() else "none"
    run.tags({"mlflow.note.content": "\n".join(lines), "data.digest": data})
