import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.pretraining import DIGITS, MINILM, prepared_experiment, pretrain, write_backbone
from transformers import AutoModel

from decant import pretrain_load
from decant.backbone.lstm import LSTM
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.pretrain.supervised import Supervised
from decant.tracking.runs import Run

pytestmark = [
    pytest.mark.usefixtures("project_dir"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*number of training batches.*"),
]
TOY = ["use.data=toy", "use.source=toy", "use.pretrain=supervised", "+source.leaks=drop"]


def test_the_teacher_gets_the_trained_backbone_without_its_head(tmp_path: Path) -> None:
    experiment = prepared_experiment(*DIGITS, "pretrain_load.epochs=1", "pretrain_load.batch_size=32")
    assert len(read_json(Path("data/prepare/source/card.json"))["labels"]) == 5
    untrained = write_backbone(experiment.teacher, tmp_path / "untrained")
    pretrain_load.main(experiment, Run())
    teacher = Path("data/pretrain_load/teacher")
    weights = load_file(teacher / "model.safetensors")
    assert weights.keys() == AutoModel.from_pretrained(teacher).state_dict().keys()  # no classifier
    assert (teacher / "config.json").read_bytes() == (untrained / "config.json").read_bytes()
    assert "id2label" not in json.loads((teacher / "config.json").read_text())
    manifest = read_json(teacher / "manifest.json")
    assert (manifest["pretrain"], manifest["source"]) == ("supervised", "digits_source")
    assert not Path("data/pretrain_load/student/model.safetensors").exists()


def test_training_starts_from_the_weights_of_the_backbone(mean_pooling: Path) -> None:
    experiment = prepared_experiment(*TOY)
    before = load_file(mean_pooling / "model.safetensors")
    after, _ = pretrain(Supervised(), experiment, mean_pooling, lr=1e-30)
    assert after.keys() == before.keys()
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)


def test_an_architecture_without_a_separate_backbone_is_refused(tmp_path: Path) -> None:
    experiment = prepared_experiment(*TOY)
    lstm = LSTM(package=MINILM, embedding_size=8, hidden_size=8, dropout=0.0)
    with pytest.raises(UserError, match="architecture lstm, which has no backbone apart from its head"):
        pretrain(Supervised(), experiment, write_backbone(lstm, tmp_path / "lstm"))
