"""What a person sees in MLflow: one parent run per invocation of the pipeline, a nested run per stage."""

import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import mlflow.pyfunc
import pandas as pd
import psutil
from mlflow.entities import Metric, Param, RunTag
from mlflow.models import ModelSignature, infer_signature
from mlflow.types.schema import AnyType, ColSpec, Schema
from omegaconf import DictConfig, OmegaConf

from decant.provenance import digest, provenance
from decant.store import connect, find, owner, redacted

ANSWERS: dict[str | None, dict[str, list[Any]]] = {
    None: {"label": ["a"], "score": [0.5]},
    "single_label_classification": {"label": ["a"], "score": [0.5]},
    "multi_label_classification": {"labels": [["a", "b"]], "scores": [[0.9, 0.8]]},
    "regression": {"score": [0.5]},
}
"""What a served model gives, by the `problem_type` in its config."""
PACKAGE = Path(__file__).parent
SHIPPED = ("__init__.py", "answer.py", "inputs.py", "pixels.py")
RUNTIME = ["mlflow", "numpy", "onnxruntime", "pandas", "pillow", "tokenizers"]
"""What `serve.py` imports, of decant's and of others'."""
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

    def dataset(self, frame: pd.DataFrame, split: str, sha256: str) -> None:
        """Name a split as an input of the run; `sha256` of its table says which data."""
        if self.run_id:
            # a path would say which machine; MLflow's own digest leaves out images, and takes 36 characters at most
            source = mlflow.data.code_dataset_source.CodeDatasetSource({"decant.split": split})
            data = mlflow.data.from_pandas(frame, source=source, targets="target", name=split, digest=sha256[:32])
            mlflow.log_input(data, context=split)

    def model(self, name: str, folder: Path, examples: list[Any]) -> None:
        """Log the model directory as an MLflow model of `examples` and their like: texts, pairs, bytes of images."""
        if not self.run_id:
            return
        config = json.loads((folder / "config.json").read_text("utf-8"))
        with TemporaryDirectory() as place:
            exported = served(folder, Path(place, "model"))
            training = ["torch", "transformers"] + ["timm", "torchvision"] * ("pretrained_cfg" in config)
            whole = "architecture_module" in config and not exported  # transformers does not know it
            mlflow.pyfunc.log_model(
                name=name,
                python_model=str(PACKAGE / "serve.py"),
                artifacts={"model": str(Path(place, "model"))},
                code_paths=[str(PACKAGE if whole else copied(PACKAGE, Path(place, "decant"), SHIPPED))],
                signature=signature(examples, ANSWERS[config.get("problem_type")]),
                input_example=examples,
                pip_requirements=[f"{p}=={version(p).partition('+')[0]}" for p in RUNTIME + training * (not exported)],
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


def signature(examples: list[Any], answer: dict[str, list[Any]]) -> ModelSignature:
    """Of a served model; inputs are of any type, for MLflow would make a text of a number: `Server` refuses it."""
    given = infer_signature(None, pd.DataFrame(answer), {"top_k": 0})
    names = list(examples[0]) if isinstance(examples[0], dict) else [None]
    return ModelSignature(Schema([ColSpec(AnyType(), name) for name in names]), given.outputs, given.params)


def served(folder: Path, place: Path) -> bool:
    """Copy to `place` what a server needs of a model directory; whether ONNX Runtime serves it."""
    variant = next((v for v in ("int8", "onnx") if (folder / v / "model.onnx").exists()), None)
    left = {folder / "predictions.parquet"} | ({folder / "model.safetensors"} if variant else set())
    copied(folder, place, sorted(f.name for f in {*folder.iterdir()} - left if f.is_file()))
    if variant:
        copied(folder / variant, place / variant, ["model.onnx"])
    return bool(variant)


def copied(folder: Path, place: Path, names: Iterable[str]) -> Path:
    """`place`, with copies of the named files of `folder`."""
    place.mkdir()
    for name in names:
        shutil.copy(folder / name, place)
    return place


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
    top = psutil.Process()
    if "DVC_STAGE" in os.environ:
        for process in top.parents():
            if any(Path(word).name.startswith("dvc") for word in process.cmdline()[:3]):
                top = process
                break
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
