"""Fixtures that test modules share: projects, small tables, model directories; and which tests share a worker."""

import os

# before torch is imported, here and in what tests start: networks as small as the tests' lose time with more threads,
# and waiting threads of OpenMP that spin slow down the other test worker
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["GOMP_SPINCOUNT"] = "1000"
os.environ["HF_HUB_OFFLINE"] = "1"

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from support.model_directories import EXAMPLES, image_model, text_model
from support.paths import ROOT
from support.stores import empty_store
from support.tiny_project import BACKBONES, write_prepared, write_teacher
from support.watched_training import WatchedTraining

from decant.tracking.runs import Run


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
    return empty_store(tmp_path_factory)


@pytest.fixture
def rows() -> pd.DataFrame:
    """Twelve messages of three classes."""
    words = ["alpha", "beta", "gamma", "delta"]
    return pd.DataFrame(
        [(f"{word} about {label}", label) for label in ("bills", "boxes", "beans") for word in words],
        columns=["text", "intent"],
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One thread per test process: networks as small as those of the tests lose by more, and so do busy neighbours."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """What `prepare` and `pretrain_load` write for a training of seconds, by kind of rows and number of classes."""

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
) -> Callable[..., WatchedTraining]:
    """Starts a training in a folder of its own, with a teacher that is `pretrained` or not."""

    def start(kind: str, classes: int = 3, pretrained: bool = True) -> WatchedTraining:
        monkeypatch.chdir(tmp_path)
        shutil.copytree(tiny_inputs(kind, classes), "data", symlinks=True)
        if not pretrained:
            Path("data/pretrain_load/teacher/model.safetensors").unlink()
        return WatchedTraining()

    return start


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model of texts, in fp32 and in 8 bits."""
    return text_model(tmp_path_factory.mktemp("texts"), int8=True)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model that gives pairs of texts a number."""
    return text_model(tmp_path_factory.mktemp("pairs"), pairs=True, num_labels=1, problem_type="regression")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model of images."""
    return image_model(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model directory for each kind of input, with predictions and a control as `distill` leaves them."""
    made = {
        "texts": text_model(tmp_path_factory.mktemp("texts"), int8=True),
        "pairs": text_model(
            tmp_path_factory.mktemp("pairs"), pairs=True, id2label={0: "score"}, problem_type="regression"
        ),
        "images": image_model(tmp_path_factory.mktemp("images")),
    }
    for folder in made.values():
        (folder / "predictions.parquet").write_bytes(b"rows")
        (folder / "control").mkdir()
        (folder / "control/model.safetensors").write_bytes(b"weights")
    return made


@pytest.fixture(scope="module")
def logged_models(
    model_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    """Each of them as MLflow stores it."""
    place = tmp_path_factory.mktemp("store")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("serve", artifact_location=str(place / "artifacts")))
    made = {}
    for name, folder in model_folders.items():
        with mlflow.start_run() as run:
            Run(run.info.run_id).log_model("student", folder, EXAMPLES[name])
            (place / name).mkdir()
            found = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/student", dst_path=str(place / name))
            made[name] = Path(found)
    yield made
    mlflow.set_tracking_uri(before)
