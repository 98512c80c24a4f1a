from pathlib import Path

import torch
from support.tiny_networks import DISTIL, logits, random_inputs
from transformers import AutoModelForSequenceClassification, DistilBertConfig, DistilBertModel

from decant.models import directory
from decant.models.directory import Head


def test_a_head_without_a_hidden_layer_reads_the_first_token_of_a_backbone_without_a_pooler(tmp_path: Path) -> None:
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(**DISTIL)).save_pretrained(tmp_path)
    names = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}
    network = directory.with_head(AutoModelForSequenceClassification, tmp_path, Head(one_logit=True), **names)
    x = random_inputs("distilbert")
    with torch.no_grad():
        first = network.eval().backbone(x, torch.ones_like(x)).last_hidden_state[:, 0]
        expected = network.classifier(first)[:, 0]
    torch.testing.assert_close(logits(network, x), torch.stack([torch.zeros(5), expected], 1))
