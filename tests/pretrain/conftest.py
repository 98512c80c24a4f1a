"""Fixtures that tests of pretraining share."""

from pathlib import Path

import pytest
import torch
from support.pretraining import MINILM, SMALL_BERT, write_backbone
from transformers import AutoConfig, AutoModel

from decant.backbone.huggingface import HuggingFace


@pytest.fixture
def project_dir(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project is the working directory."""
    monkeypatch.chdir(project)
    return project


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directory of a small BERT with weights and a pooler."""
    folder = tmp_path_factory.mktemp("weights")
    HuggingFace(package=MINILM, pretrained=False, config=SMALL_BERT).write(folder)
    torch.manual_seed(3)
    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder


@pytest.fixture
def mean_pooling(weights: Path, tmp_path: Path) -> Path:
    """The model directory of a small BERT with a layer for mean pooling."""
    return write_backbone(HuggingFace(path=str(weights), pooling="mean"), tmp_path / "mean_pooling")
