"""What a person sees in MLflow: one parent run per invocation of the pipeline, a nested run per stage."""

import hashlib
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import pandas as pd
import psutil
import requests
from filelock import FileLock
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from decant import UserError

STAGES = ("prepare", "pretrain_load", "fine_tune", "distill", "evaluate")


def rank() -> int:
    """The number of this process among those that train together; 0 writes and logs."""
    return int(getattr(rank_zero_only, "rank", 0) or 0)


class Run:
    """A run in the store; every method does nothing without one (`run_id` None: ranks above 0)."""

    def __init__(self, run_id: str | None = None, parent: "Run | None" = None) -> None:
        self.run_id = run_id
        self.parent = parent

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log `values` as one batch."""
        if self.run_id:
            now = int(time.time() * 1000)
            batch = [Metric(k, float(v), now, step) for k, v in values.items()]
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

    def dataset(self, frame: pd.DataFrame, split: str) -> None:
        """Name a split as an input of the run."""
        if self.run_id:
            # the digest says which data; a path would say which machine
            source = mlflow.data.code_dataset_source.CodeDatasetSource({"decant.split": split})
            data = mlflow.data.from_pandas(frame, source=source, targets="target", name=split)
            mlflow.log_input(data, context=split)

    def model(self, name: str, folder: Path, texts: list[str]) -> None:
        """Log the model directory as an MLflow model that takes raw text."""
        if not self.run_id:
            return
        native = "architecture_module" not in json.loads((folder / "config.json").read_text())
        package = Path(__file__).parent
        mlflow.pyfunc.log_model(
            name=name,
            python_model=str(package / "serve.py"),
            artifacts={"model": str(folder)},
            code_paths=None if native else [str(package)],
            signature=infer_signature(texts, pd.DataFrame({"label": ["a"], "score": [0.5]})),
            input_example=texts,
            pip_requirements=[f"{p}=={version(p).partition('+')[0]}" for p in ("mlflow", "torch", "transformers")],
        )

    @contextmanager
    def child(self, name: str) -> Iterator["Run"]:
        """A run nested in this one, closed when the block ends, however it ends."""
        if not self.run_id:
            yield Run(parent=self)
            return
        run = mlflow.start_run(run_name=name, nested=True, tags=owner())
        status = "FAILED"
        try:
            yield Run(run.info.run_id, self)
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit):
            status = "KILLED"
            raise
        finally:
            mlflow.end_run(status)


@contextmanager
def stage(name: str, cfg: DictConfig) -> Iterator[Run]:
    """The nested run of a stage, inside the parent run of this invocation.

    Raises:
        UserError: a store that cannot be used, before any work.
    """
    if rank():
        yield Run()
        return
    with parent(cfg) as whole, whole.child(name.replace("_", "-")) as run:
        run.tags({"decant.stage": name})
        log_config(run, {name: cfg.get(name, {}), "use": cfg.use, "seed": cfg.seed, "trainer": cfg.trainer})
        yield run
        run.tags({"decant.digest": digest(output(name))})


@contextmanager
def parent(cfg: DictConfig) -> Iterator[Run]:
    """The run of this invocation, found or made; RUNNING only while a stage is."""
    connect()
    key = invocation()
    known = find(f"tags.`decant.invocation` = '{key}'")
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
        return {prefix: re.sub(r"://[^/@\s]*@", "://", str(value))[:6000]}
    return {
        k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}.{key}" if prefix else str(key)).items()
    }  # fmt: skip


def connect(root: Path | None = None) -> str:
    """Point MLflow at `MLFLOW_TRACKING_URI` or <root>/mlflow.db and its experiment; return the URI.

    Raises:
        UserError: a `file:` store, a server that does not answer, a place that cannot be written.
    """
    root = (root or Path()).resolve()
    os.environ.pop("MLFLOW_RUN_ID", None)  # it would win over the parent given here
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
    if uri.startswith(("http://", "https://")):
        _reach(uri)
    elif not uri.startswith(("sqlite:////", "postgresql", "mysql", "databricks")):
        raise UserError(
            f"MLFLOW_TRACKING_URI is {_redacted(uri)!r}; MLflow no longer writes to folders. Expected an absolute "
            f"sqlite:////path/mlflow.db or the http:// address of a server; unset it to use {root / 'mlflow.db'}"
        )
    mlflow.set_tracking_uri(uri)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "decant")
    state = root / ".state"
    try:
        state.mkdir(exist_ok=True)
        # several processes that meet a fresh SQLite file destroy it
        with FileLock(state / "mlflow.lock"):
            if mlflow.get_experiment_by_name(name) is None:
                artifacts = (root / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
                # else the UI opens on its page for language-model traces, which stays empty
                kind = {"mlflow.experimentKind": "custom_model_development"}
                mlflow.create_experiment(name, artifact_location=artifacts, tags=kind)
            mlflow.set_experiment(name)
    except (OSError, MlflowException) as error:
        raise UserError(f"the MLflow store {_redacted(uri)} cannot be used: {error}") from error
    close_dead()
    return uri


def _reach(uri: str) -> None:
    try:
        # by hand: MLflow's own client retries for minutes before it says so
        requests.get(f"{uri.rstrip('/')}/health", timeout=10).raise_for_status()
    except requests.RequestException as error:
        raise UserError(
            f"no MLflow server answers at {_redacted(uri)} ({type(error).__name__}); start it, correct "
            "MLFLOW_TRACKING_URI, or unset it to use mlflow.db here"
        ) from error


def _redacted(uri: str) -> str:
    return re.sub(r"://[^/@]*@", "://", uri)


def find(query: str) -> list[Any]:
    """Runs of the experiment that match, newest first."""
    experiment = mlflow.get_experiment_by_name(os.environ.get("MLFLOW_EXPERIMENT_NAME", "decant"))
    return mlflow.MlflowClient().search_runs([experiment.experiment_id], query, order_by=["attributes.start_time DESC"])


def owner() -> dict[str, str]:
    """Tag with the process that a run belongs to."""
    me = psutil.Process()
    return {"decant.process": f"{platform.node()} {me.pid} {me.create_time()}"}


def close_dead() -> None:
    """Close the runs of processes of this machine that were killed without a chance to do so."""
    for run in find("attributes.status = 'RUNNING'"):
        host, pid, started = (run.data.tags.get("decant.process", "? 0 0")).split()
        if host == platform.node() and not _alive(int(pid), float(started)):
            mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")


def _alive(pid: int, started: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1
    except psutil.NoSuchProcess:
        return False


def invocation() -> str:
    """What tells one invocation of the pipeline from another.

    `DECANT_INVOCATION` (make sets it), else the DVC process above this one, else this process.
    """
    if given := os.environ.get("DECANT_INVOCATION"):
        return given
    top = psutil.Process()
    if "DVC_STAGE" in os.environ:
        for process in top.parents():
            if any(Path(word).name.startswith("dvc") for word in process.cmdline()[:3]):
                top = process
                break
    return f"{platform.node()} {top.pid} {top.create_time()}"


def provenance() -> dict[str, str]:
    """Tags that say which code, on which machine, made a run."""
    import torch

    packages = ("torch", "transformers", "pytorch-lightning", "dvc", "mlflow")
    lock = Path("dvc.lock")
    return {
        "git.commit": _git("rev-parse", "HEAD"),
        "git.dirty": str(bool(_git("status", "--porcelain"))),
        "dvc.lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "none",
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", "none"),
        "data.digest": digest(Path("data/prepare")),
        "hardware": hardware(),
        "threads": str(torch.get_num_threads()),
        "versions": ", ".join(f"{p} {version(p)}" for p in packages),
    }


def hardware() -> str:
    """The processor, or the accelerator, in words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {names[0] if names else platform.machine()}"


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""  # a machine without git


def digest(path: Path) -> str:
    """sha256 over names and content of a file, or of all files under a folder: which output this is."""
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            total.update(f"{file.relative_to(path)}\0".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


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
    run.tags({"mlflow.note.content": "\n".join(lines)})
