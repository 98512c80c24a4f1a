"""Features of a frozen backbone, computed once."""

from typing import Any

import pytest
import torch
from support.tiny_networks import CONFIGS, TEXT, TensorBatches, logits, random_inputs, tiny_network
from support.watched_training import equal
from transformers import BertConfig
from transformers.modeling_outputs import BaseModelOutput

from decant.core.errors import UserError
from decant.dataset.modality import Row
from decant.models.mlp_head import MLPHeadConfig, MLPHeadForClassification
from decant.training.feature_cache import CachedBackbone, feature_cache, head_input, select

HEAD_INPUTS = {  # what the head reads, and its shape for a row
    "bert": ("pooler_output", (16,)),
    "distilbert": ("last_hidden_state", (1, 16)),
    "roberta": ("last_hidden_state", (1, 16)),
    "electra": ("last_hidden_state", (1, 16)),
    "albert": ("pooler_output", (16,)),
    "deberta": ("last_hidden_state", (1, 16)),
    "mobilenet_v1": ("pooler_output", (256,)),
    "mobilenet_v2": ("pooler_output", (1280,)),
    "resnet": ("pooler_output", (32, 1, 1)),
    "convnext": ("pooler_output", (32,)),
    "vit": ("last_hidden_state", (1, 16)),
    "swin": ("pooler_output", (16,)),
    "mlp_bert": ("pooler_output", (16,)),
    "mlp_distilbert": ("last_hidden_state", (1, 16)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_head_answers_on_cached_features_as_the_whole_network(name: str) -> None:
    network, x = tiny_network(name), random_inputs(name)
    expected = logits(network, x)
    backbone = network.base_model
    network.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    rows = {"train": [Row(item, i) for i, item in enumerate(x)], "validation": [Row(x[0], 7)]}
    with feature_cache(network, TensorBatches(), rows) as (encoder, cached):
        batch = encoder.collate(cached["train"])
        actual = network(**encoder.inputs(batch)).logits
        assert cached["train"][0].input.shape == HEAD_INPUTS[name][1]
        assert batch["target"].tolist() == [0, 1, 2, 3, 4]
        assert [row.target for row in cached["validation"]] == [7]
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    assert network.base_model is backbone
    assert network.training
    assert equal(dict(network.state_dict()), before)


@pytest.mark.parametrize("name", CONFIGS)
def test_hooks_find_what_the_head_reads(name: str) -> None:
    network, x = tiny_network(name).eval(), random_inputs(name)
    rows = [Row(item, 0) for item in x]
    output, pooled, actual = head_input(network, TensorBatches(), rows)
    field, shape = HEAD_INPUTS[name]
    assert ("pooler_output" if pooled else "last_hidden_state") == field
    features = select(output, pooled)
    assert features.shape == (5, *shape)
    torch.testing.assert_close(actual, logits(network, x))
    hooks = [
        *network._forward_hooks,
        *(h for m in network.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)),
    ]
    assert hooks == []


def test_the_backbone_is_back_after_an_error() -> None:
    model = tiny_network("resnet")
    body = model.base_model
    rows = {"train": [Row(item, 0) for item in random_inputs("resnet")]}
    with pytest.raises(RuntimeError, match="in the middle"), feature_cache(model, TensorBatches(), rows):
        raise RuntimeError("in the middle")
    assert model.base_model is body


def test_a_head_that_reads_all_tokens_is_refused() -> None:
    class Mean(MLPHeadForClassification):
        def forward(self, *args: Any, **inputs: Any) -> Any:
            output = self.backbone(*args, **inputs)
            output.logits = self.classifier(output.last_hidden_state.mean(1))
            return output

    torch.manual_seed(0)
    model = Mean(MLPHeadConfig(BertConfig(**TEXT).to_dict(), 16, num_labels=3)).eval()
    rows = [Row(item, 0) for item in random_inputs("bert")]
    with pytest.raises(UserError, match="the head of Mean reads more than"):
        head_input(model, TensorBatches(), rows)


def test_a_cached_backbone_takes_features_by_name_and_by_position() -> None:
    features = torch.rand(2, 1, 4)
    backbone = CachedBackbone("input_ids", BaseModelOutput, pooled=False)
    assert backbone(features)[0] is features
    assert backbone(input_ids=features, attention_mask=None).last_hidden_state is features
