"""CONTRIBUTING says: an image model or a data folder takes one yaml. Its own examples are run here."""

import re
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from support.paths import ROOT

from decant import fine_tune, prepare, pretrain_load
from decant.dataset.prepared import read_prepared
from decant.experiment.experiment import Experiment
from decant.models import directory, predictions
from decant.tracking.runs import Run

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*number of training batches:UserWarning", "ignore:.*does not have many workers"
)
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SMALL = ["fine_tune.epochs=1", "fine_tune.control_epochs=1", "fine_tune.batch_size=8", "distill.batch_size=8"]


def example(path: str) -> str:
    """The yaml that the page shows under this name."""
    return next(block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if block.startswith(f"# {path}\n"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the two yaml of the page, and a folder of 40 pictures of two classes."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for path in ("conf/data/shapes.yaml", "conf/backbone/resnet_mini.yaml"):
        (tmp_path / path).write_text(example(path))
    draw = np.random.default_rng(0)
    for name in ("noise", "stripes"):
        folder = tmp_path / "data/raw/shapes" / name
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = draw.integers(0, 255, (24, 40, 3)) if name == "noise" else draw.integers(0, 255, (24, 1, 3))
            image = PIL.Image.fromarray(np.broadcast_to(pixels, (24, 40, 3)).astype(np.uint8))
            image.save(folder / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_data_folder_and_an_image_model_take_one_yaml_each(place: Path) -> None:
    names = ["use.data=shapes", *(f"use.{role}=resnet_mini" for role in ("teacher", "student", "scratch"))]
    experiment = Experiment.load([*names, *SMALL, "trainer=cpu"])
    for stage in (prepare, pretrain_load, fine_tune):
        stage.main(experiment, Run())
    prepared = read_prepared()
    assert prepared.labels == ["noise", "stripes"]
    network, encoder = directory.load(place / "data/fine_tune", prepared.modality)
    test = prepared.modality.raw(prepared.frames["test"])
    served = encoder.predict_fn(network)(test).numpy()
    stored = predictions.read_split(place / "data/fine_tune", "test", prepared)
    # the image processor of transformers and the preparation on the device see the same pixels
    assert np.allclose(served, stored, atol=1e-3)


def test_an_image_model_is_an_ordinary_directory(place: Path) -> None:
    from transformers import pipeline

    experiment = Experiment.load(
        ["use.data=shapes", *(f"use.{r}=resnet_mini" for r in ("teacher", "student", "scratch")), *SMALL]
    )
    for stage in (prepare, pretrain_load, fine_tune):
        stage.main(experiment, Run())
    answer = pipeline("image-classification", str(place / "data/fine_tune"))(PIL.Image.new("RGB", (50, 30)))
    assert {a["label"] for a in answer} == {"noise", "stripes"}
