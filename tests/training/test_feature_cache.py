from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.tiny_networks import CONFIGS, TEXT, TensorBatches, logits, random_inputs, tiny_network
from torch import nn
from transformers import (
    BertConfig,
)

from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.core.errors import UserError
from decant.dataset.modality import Row
from decant.models.blocks import blocks, require_backbone
from decant.models.mlp_head import MLPHeadConfig, MLPHeadForClassification
from decant.training.feature_cache import cached, read_by_head

pytestmark = pytest.mark.usefixtures("one_thread")
READ = {  # what the head reads, and the shape kept of a row
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
COUNTS = {  # layers, and what stands before, after and above them
    "bert": 3 + 3, "distilbert": 3 + 2, "roberta": 3 + 2, "electra": 3 + 3, "albert": 1 + 4, "deberta": 3 + 2,
    "mobilenet_v1": 26 + 2, "mobilenet_v2": 16 + 3, "resnet": 3 + 2, "convnext": 4 + 3, "vit": 3 + 3, "swin": 2 + 3,
    "mlp_bert": 3 + 3, "mlp_distilbert": 3 + 2,
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_the_head_on_cached_features_answers_as_the_whole_network(name: str) -> None:
    model, x = tiny_network(name), random_inputs(name)
    wanted = logits(model, x)
    body = model.base_model
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    rows = {"train": [Row(item, i) for i, item in enumerate(x)], "validation": [Row(x[0], 7)]}
    with cached(model, TensorBatches(), rows) as (encoder, kept):
        batch = encoder.collate(kept["train"])
        found = model(**encoder.inputs(batch)).logits
        field, shape = READ[name]
        assert model.base_model.field == field
        assert kept["train"][0].input.shape == shape
        assert batch["target"].tolist() == [0, 1, 2, 3, 4]
        assert [row.target for row in kept["validation"]] == [7]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert model.base_model is body
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_backbone_is_back_after_an_error() -> None:
    model = tiny_network("resnet")
    body = model.base_model
    rows = {"train": [Row(item, 0) for item in random_inputs("resnet")]}
    with pytest.raises(RuntimeError, match="in the middle"), cached(model, TensorBatches(), rows):
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
        read_by_head(model, TensorBatches(), rows)


def leaves(model: nn.Module) -> Iterator[tuple[nn.Module, list[nn.Parameter]]]:
    """Modules that hold parameters themselves."""
    for module in model.modules():
        if own := list(module.parameters(recurse=False)):
            yield module, own


@pytest.mark.parametrize("name", CONFIGS)
def test_blocks_hold_each_parameter_once_in_the_order_of_the_pass(name: str) -> None:
    model = tiny_network(name)
    found = blocks(model)
    assert len(found) == COUNTS[name]
    assert all(found)
    assert sorted(id(p) for block in found for p in block) == sorted(id(p) for p in model.parameters())
    place = {id(p): number for number, block in enumerate(found) for p in block}
    passed: list[int] = []
    owners = {module: place[id(own[0])] for module, own in leaves(model)}
    for module in owners:
        module.register_forward_pre_hook(lambda module, _: passed.append(owners[module]))
    logits(model, random_inputs(name))
    first = list(dict.fromkeys(passed))
    assert first == sorted(first)
    head = {id(p) for n, p in model.named_parameters() if not n.startswith(f"{model.base_model_prefix}.")}
    assert {id(p) for p in found[-1]} == head


def test_a_network_without_a_backbone_of_its_own_is_one_block() -> None:
    model = LSTMForSequenceClassification(LSTMConfig(vocab_size=50, num_labels=3))
    assert [len(block) for block in blocks(model)] == [len(list(model.parameters()))]
    with pytest.raises(UserError, match="LSTMForSequenceClassification has no backbone apart from its head"):
        require_backbone(model)
    with pytest.raises(UserError, match="no backbone apart"), cached(model, TensorBatches(), {"train": []}):
        pass
