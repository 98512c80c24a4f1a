"""Fixtures that test modules share: projects, small tables, model directories; and which tests share a worker."""

import os

# before torch is imported, here and in what tests start: networks as small as the tests' lose time with more threads,
# and waiting threads of OpenMP that spin slow down the other test worker
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["GOMP_SPINCOUNT"] = "1000"
os.environ["HF_HUB_OFFLINE"] = "1"
for name in [*os.environ]:  # of the shell, or of `make`, that runs the tests
    if name.startswith(("MLFLOW_", "DVC_", "GIT_", "DECANT_TRAINER", "DECANT_INVOCATION")):
        del os.environ[name]

import gc
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.paths import FOREIGN, ROOT
from support.workers import built_once, group_scheduling, order_of

if TYPE_CHECKING:  # imported where they are used: the process that hands out the tests runs none, and starts at once
    import pandas as pd
    from support.watched_training import WatchedTraining


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Groups by file: with pytest 9.2, `--dist loadgroup` scatters the tests in silence (pytest-xdist issue 1386)."""
    return group_scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The groups that take longest first."""
    items.sort(key=lambda item: order_of(item.path))


def pytest_collection_finish() -> None:
    """Garbage collections leave out the 700,000 objects of imported libraries."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def foreign_variables() -> Iterator[None]:
    """A test leaves no store or project to the next one: MLflow, too, sets such a variable."""
    before = {name: value for name, value in os.environ.items() if name.startswith(FOREIGN)}
    yield
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """conf/ and params.yaml in a folder of their own."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw").symlink_to(ROOT / "data" / "raw")
    return tmp_path


@pytest.fixture(scope="session")
def empty_mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store, to be copied: see support/stores.py."""
    from support.stores import empty_store

    return empty_store(tmp_path_factory)


@pytest.fixture
def rows() -> "pd.DataFrame":
    """Twelve messages of three classes."""
    import pandas as pd

    words = ["alpha", "beta", "gamma", "delta"]
    return pd.DataFrame(
        [(f"{word} about {label}", label) for label in ("bills", "boxes", "beans") for word in words],
        columns=["text", "intent"],
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One thread per test process: networks as small as those of the tests lose by more, and so do busy neighbours."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """What `prepare` and `pretrain_load` write for a training of seconds, by kind of rows and number of classes."""
    from support.tiny_project import BACKBONES, write_prepared, write_teacher

    @cache
    def written(kind: str, classes: int) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        (folder / "data").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            write_prepared(kind, classes)
            write_teacher(BACKBONES[kind])
        (folder / "data/pretrain_load/student").symlink_to("teacher")
        return folder / "data"

    return written


@pytest.fixture
def watched_training(
    tiny_inputs: Callable[[str, int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Callable[..., WatchedTraining]":
    """Starts a training in a folder of its own, with a teacher that is `pretrained` or not."""
    from support.tiny_project import remove_weights
    from support.watched_training import WatchedTraining

    def start(kind: str, classes: int = 3, pretrained: bool = True) -> "WatchedTraining":
        monkeypatch.chdir(tmp_path)
        shutil.copytree(tiny_inputs(kind, classes), "data", symlinks=True)
        if not pretrained:
            remove_weights(Path("data/pretrain_load/teacher"))
        return WatchedTraining()

    return start


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model directory for each kind of input, with predictions and a control as `distill` leaves them."""
    from support.model_directories import EXAMPLES, image_model, text_model

    folders = {name: built_once(tmp_path_factory, name) for name in EXAMPLES}
    text_model(folders["texts"], int8=True)
    text_model(folders["pairs"], pairs=True, id2label={0: "score"}, problem_type="regression")
    image_model(folders["images"])
    for folder in folders.values():
        (folder / "predictions.parquet").write_bytes(b"rows")
        (folder / "control").mkdir()
        (folder / "control/model.safetensors").write_bytes(b"weights")
    return folders


@pytest.fixture(scope="session")
def texts(model_folders: dict[str, Path]) -> Path:
    """A finished model of texts, in fp32 and in 8 bits."""
    return model_folders["texts"]


@pytest.fixture(scope="session")
def pairs(model_folders: dict[str, Path]) -> Path:
    """A finished model that gives pairs of texts a number."""
    return model_folders["pairs"]


@pytest.fixture(scope="session")
def images(model_folders: dict[str, Path]) -> Path:
    """A finished model of images."""
    return model_folders["images"]


@pytest.fixture(scope="session")
def logged_models(
    model_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, empty_mlflow_store: Path
) -> dict[str, Path]:
    """Each of them as MLflow stores it."""
    import mlflow
    from support.model_directories import EXAMPLES
    from support.stores import copy_store

    from decant.tracking.runs import Run

    folder = tmp_path_factory.mktemp("logged")
    uri = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(copy_store(empty_mlflow_store, folder))
    experiment = mlflow.create_experiment("serve", artifact_location=str(folder / "artifacts"))
    mlflow.set_experiment(experiment_id=experiment)  # where models are searched
    models = {}
    for name, model in model_folders.items():
        run_id = mlflow.MlflowClient().create_run(experiment).info.run_id
        Run(run_id).log_model("student", model, EXAMPLES[name])
        (folder / name).mkdir()
        address = f"runs:/{run_id}/student"
        models[name] = Path(mlflow.artifacts.download_artifacts(address, dst_path=str(folder / name)))
    mlflow.set_tracking_uri(uri)
    return models
