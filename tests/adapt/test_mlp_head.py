from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.adapt_training import AdaptTraining, same_weights
from support.tiny_networks import DISTIL, logits, random_inputs
from transformers import AutoModelForSequenceClassification, DistilBertConfig, DistilBertModel

from decant.adapt.mlp_head import MLPHead
from decant.core.errors import UserError
from decant.dataset.prepared import read_prepared
from decant.models import directory
from decant.models.directory import Head
from decant.task.classify import Classify

pytestmark = [
    pytest.mark.usefixtures("one_thread", "project_dir"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


@pytest.mark.parametrize(("kind", "one_logit"), [("text", False), ("text", True), ("image", True)])
def test_the_trained_head_is_saved_and_loaded_again(tmp_path: Path, kind: str, one_logit: bool) -> None:
    training = AdaptTraining(kind, classes=2)
    network = training.train(MLPHead(2, 1e-2, 8, 5, one_logit))
    assert same_weights(network.base_model.state_dict(), training.initial_backbone())
    directory.save(network, training.encoder.processor, tmp_path / "saved")
    assert str(training.init_dir) not in (tmp_path / "saved/config.json").read_text()
    loaded, encoder = directory.load(tmp_path / "saved", read_prepared().modality)
    assert same_weights(dict(loaded.state_dict()), dict(network.state_dict()))
    assert loaded.config.id2label == {0: "bill", 1: "box"}
    predicted = directory.predict(network, training.encoder, training.rows["test"])
    np.testing.assert_array_equal(directory.predict(loaded, encoder, training.rows["test"]), predicted)
    assert predicted.shape == (6, 2)


def test_without_a_pooler_the_head_reads_the_first_token(tmp_path: Path) -> None:
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(**DISTIL)).save_pretrained(tmp_path)
    names = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}
    network = directory.with_head(AutoModelForSequenceClassification, tmp_path, Head(None, one_logit=True), **names)
    x = random_inputs("distilbert")
    with torch.no_grad():
        first = network.eval().backbone(x, torch.ones_like(x)).last_hidden_state[:, 0]
        by_hand = network.classifier(first)[:, 0]
    torch.testing.assert_close(logits(network, x), torch.stack([torch.zeros(5), by_hand], 1))


def test_one_logit_is_a_sigmoid_with_its_cross_entropy() -> None:
    training = AdaptTraining("image", classes=2)
    network = training.train(MLPHead(1, 1e-2, 8, None, one_logit=True))
    pair = torch.from_numpy(directory.predict(network, training.encoder, training.rows["train"]))
    target = torch.tensor([row.target for row in training.rows["train"]])
    assert (pair[:, 0] == 0).all()
    torch.testing.assert_close(pair.softmax(1)[:, 1], torch.sigmoid(pair[:, 1]))
    by_hand = F.binary_cross_entropy_with_logits(pair[:, 1], target.float())
    torch.testing.assert_close(Classify().objective.loss(pair, target), by_hand)


def test_one_logit_for_three_classes_is_refused() -> None:
    with pytest.raises(UserError, match="one_logit is for two classes, found 3"):
        AdaptTraining("image").train(MLPHead(1, 1e-2, 8, None, one_logit=True))
