from collections.abc import Iterator

import pytest
from support.tiny_networks import CONFIGS, TensorBatches, logits, random_inputs, tiny_network
from torch import nn

from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.core.errors import UserError
from decant.models.blocks import blocks, require_backbone
from decant.training.feature_cache import feature_cache

COUNTS = {  # layers, and modules before and after them
    "bert": 3 + 3, "distilbert": 3 + 2, "roberta": 3 + 2, "electra": 3 + 3, "albert": 1 + 4, "deberta": 3 + 2,
    "mobilenet_v1": 26 + 2, "mobilenet_v2": 16 + 3, "resnet": 3 + 2, "convnext": 4 + 3, "vit": 3 + 3, "swin": 2 + 3,
    "mlp_bert": 3 + 3, "mlp_distilbert": 3 + 2,
}  # fmt: skip


def modules_with_parameters(model: nn.Module) -> Iterator[tuple[nn.Module, list[nn.Parameter]]]:
    """Modules that hold parameters themselves."""
    for module in model.modules():
        if own := list(module.parameters(recurse=False)):
            yield module, own


@pytest.mark.parametrize("name", CONFIGS)
def test_blocks_hold_each_parameter_once_in_the_order_of_the_forward_pass(name: str) -> None:
    model = tiny_network(name)
    groups = blocks(model)
    assert len(groups) == COUNTS[name]
    assert all(groups)
    assert sorted(id(p) for block in groups for p in block) == sorted(id(p) for p in model.parameters())
    block_number = {id(p): number for number, block in enumerate(groups) for p in block}
    called: list[int] = []
    owners = {module: block_number[id(own[0])] for module, own in modules_with_parameters(model)}
    for module in owners:
        module.register_forward_pre_hook(lambda module, _: called.append(owners[module]))
    logits(model, random_inputs(name))
    first_calls = list(dict.fromkeys(called))
    assert first_calls == sorted(first_calls)
    head = {id(p) for n, p in model.named_parameters() if not n.startswith(f"{model.base_model_prefix}.")}
    assert {id(p) for p in groups[-1]} == head


def test_a_network_without_a_backbone_of_its_own_is_one_block() -> None:
    model = LSTMForSequenceClassification(LSTMConfig(vocab_size=50, num_labels=3))
    assert [len(block) for block in blocks(model)] == [len(list(model.parameters()))]
    with pytest.raises(UserError, match="LSTMForSequenceClassification has no backbone apart from its head"):
        require_backbone(model)
    with pytest.raises(UserError, match="no backbone apart"), feature_cache(model, TensorBatches(), {"train": []}):
        pass
