"""Classification of the source data: what it changes in a model directory."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.source_corpus import MINILM, pretraining, pretraining_job, write_backbone
from transformers import AutoModel

from decant import prepare, pretrain_load
from decant.backbone.lstm import LSTM
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.experiment.experiment import Experiment
from decant.pretrain.supervised import Supervised
from decant.tracking.runs import Run

DIGITS = [
    *("use.data=digits", "use.source=digits_source", "use.pretrain=supervised"),
    *(f"use.{role}=resnet_tiny" for role in ("teacher", "student", "scratch")),
]


@pytest.mark.slow
def test_supervised_pretraining_trains_the_backbone_and_leaves_the_head_behind(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    experiment = pretraining(*DIGITS, "pretrain_load.epochs=1", "pretrain_load.batch_size=32")
    prepare.main(experiment, Run())
    assert len(read_json(Path("data/prepare/source/card.json"))["labels"]) == 5
    untrained = write_backbone(experiment.teacher, project / "untrained")
    pretrain_load.main(experiment, Run())
    teacher = Path("data/pretrain_load/teacher")
    weights = load_file(teacher / "model.safetensors")
    assert weights.keys() == AutoModel.from_pretrained(teacher).state_dict().keys()  # no classifier
    assert (teacher / "config.json").read_bytes() == (untrained / "config.json").read_bytes()
    assert "id2label" not in json.loads((teacher / "config.json").read_text())
    manifest = read_json(teacher / "manifest.json")
    assert (manifest["pretrain"], manifest["source"]) == ("supervised", "digits_source")
    assert not Path("data/pretrain_load/student/model.safetensors").exists()


@pytest.mark.slow
def test_supervised_pretraining_starts_from_the_given_weights(
    project: Path, monkeypatch: pytest.MonkeyPatch, averaging: Path
) -> None:
    monkeypatch.chdir(project)
    experiment = pretraining("use.data=toy", "use.source=toy", "use.pretrain=supervised", "+source.leaks=drop")
    prepare.main(experiment, Run())
    before = load_file(averaging / "model.safetensors")
    Supervised().train(pretraining_job(experiment, averaging, lr=1e-30, epochs=1))
    after = load_file(averaging / "model.safetensors")
    assert after.keys() == before.keys()
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)


def test_an_architecture_without_a_backbone_apart_from_its_head_is_refused(corpus: Experiment, tmp_path: Path) -> None:
    lstm = write_backbone(LSTM(package=MINILM, embedding_size=8, hidden_size=8, dropout=0.0), tmp_path / "lstm")
    with pytest.raises(UserError, match="architecture lstm, which has no backbone apart from its head"):
        Supervised().train(pretraining_job(corpus, lstm))
