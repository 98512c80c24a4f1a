"""Fixtures that tests of pretraining share."""

from pathlib import Path

import pytest
from support.pretraining import write_backbone, write_small_bert

from decant.backbone.huggingface import HuggingFace


@pytest.fixture
def project_dir(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project is the working directory."""
    monkeypatch.chdir(project)
    return project


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directory of a small BERT with weights and a pooler."""
    return write_small_bert(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def mean_pooling(weights: Path, tmp_path: Path) -> Path:
    """The model directory of a small BERT with a layer for mean pooling."""
    return write_backbone(HuggingFace(path=str(weights), pooling="mean"), tmp_path / "mean_pooling")
