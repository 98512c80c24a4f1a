from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    ConvNextConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    MobileNetV1Config,
    MobileNetV2Config,
    PretrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    RobertaConfig,
    SwinConfig,
    ViTConfig,
)

from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.core.errors import UserError
from decant.dataset.modality import Batch, Batches, Row
from decant.models.blocks import blocks, require_backbone
from decant.models.mlp_head import MLPHeadConfig, MLPHeadForClassification
from decant.training.feature_cache import cached, read_by_head

pytestmark = pytest.mark.usefixtures("one_thread")
TEXT: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 40,
}  # fmt: skip
DISTIL: dict[str, Any] = {"vocab_size": 50, "dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32}
VIT: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
CONFIGS: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**TEXT),
    "distilbert": DistilBertConfig(**DISTIL),
    "roberta": RobertaConfig(**TEXT),
    "electra": ElectraConfig(embedding_size=8, **TEXT),
    "albert": AlbertConfig(embedding_size=8, **TEXT),
    "deberta": DebertaV2Config(**TEXT),
    "mobilenet_v1": MobileNetV1Config(depth_multiplier=0.25),
    "mobilenet_v2": MobileNetV2Config(depth_multiplier=0.25),
    "resnet": ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 32], depths=[1, 2, 1], layer_type="basic"),
    "convnext": ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1]),
    "vit": ViTConfig(**VIT),
    "swin": SwinConfig(embed_dim=8, depths=[1, 1], num_heads=[1, 2], image_size=32, window_size=4),
    "mlp_bert": MLPHeadConfig(BertConfig(**TEXT).to_dict(), 16, hidden=7),
    "mlp_distilbert": MLPHeadConfig(DistilBertConfig(**DISTIL).to_dict(), 16, hidden=7, first_token=True),
}
IMAGES = ("mobilenet_v1", "mobilenet_v2", "resnet", "convnext", "vit", "swin")
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


def network(name: str, classes: int = 3) -> PreTrainedModel:
    """A tiny network whose one-dimensional weights and statistics are not those of the start."""
    torch.manual_seed(0)
    config = type(CONFIGS[name]).from_dict({**CONFIGS[name].to_dict(), "num_labels": classes})
    auto = AutoModelForImageClassification if name in IMAGES else AutoModelForSequenceClassification
    found = auto.from_config(config)
    with torch.no_grad():
        for value in found.state_dict().values():
            if value.dim() == 1 and value.is_floating_point():
                value += 0.1 * torch.rand_like(value)
    return found


def inputs(name: str, rows: int = 5) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(rows, 3, 32, 32) if name in IMAGES else torch.randint(3, 50, (rows, 8))


class Plain(Batches):
    """Inputs that are tensors already."""

    def length(self, item: torch.Tensor) -> int:
        return 1

    def stack(self, items: Any) -> Batch:
        return {"x": torch.stack(list(items))}

    def inputs(self, batch: Batch) -> Batch:
        x = batch["x"]
        return {"pixel_values": x} if x.dim() == 4 else {"input_ids": x, "attention_mask": torch.ones_like(x)}


@torch.no_grad()
def logits(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model.eval()(**Plain().inputs({"x": x})).logits


@pytest.mark.parametrize("name", CONFIGS)
def test_the_head_on_cached_features_answers_as_the_whole_network(name: str) -> None:
    model, x = network(name), inputs(name)
    wanted = logits(model, x)
    body = model.base_model
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    rows = {"train": [Row(item, i) for i, item in enumerate(x)], "validation": [Row(x[0], 7)]}
    with cached(model, Plain(), rows) as (encoder, kept):
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
    model = network("resnet")
    body = model.base_model
    rows = {"train": [Row(item, 0) for item in inputs("resnet")]}
    with pytest.raises(RuntimeError, match="in the middle"), cached(model, Plain(), rows):
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
    rows = [Row(item, 0) for item in inputs("bert")]
    with pytest.raises(UserError, match="the head of Mean reads more than"):
        read_by_head(model, Plain(), rows)


def leaves(model: nn.Module) -> Iterator[tuple[nn.Module, list[nn.Parameter]]]:
    """Modules that hold parameters themselves."""
    for module in model.modules():
        if own := list(module.parameters(recurse=False)):
            yield module, own


@pytest.mark.parametrize("name", CONFIGS)
def test_blocks_hold_each_parameter_once_in_the_order_of_the_pass(name: str) -> None:
    model = network(name)
    found = blocks(model)
    assert len(found) == COUNTS[name]
    assert all(found)
    assert sorted(id(p) for block in found for p in block) == sorted(id(p) for p in model.parameters())
    place = {id(p): number for number, block in enumerate(found) for p in block}
    passed: list[int] = []
    owners = {module: place[id(own[0])] for module, own in leaves(model)}
    for module in owners:
        module.register_forward_pre_hook(lambda module, _: passed.append(owners[module]))
    logits(model, inputs(name))
    first = list(dict.fromkeys(passed))
    assert first == sorted(first)
    head = {id(p) for n, p in model.named_parameters() if not n.startswith(f"{model.base_model_prefix}.")}
    assert {id(p) for p in found[-1]} == head


def test_a_network_without_a_backbone_of_its_own_is_one_block() -> None:
    model = LSTMForSequenceClassification(LSTMConfig(vocab_size=50, num_labels=3))
    assert [len(block) for block in blocks(model)] == [len(list(model.parameters()))]
    with pytest.raises(UserError, match="LSTMForSequenceClassification has no backbone apart from its head"):
        require_backbone(model)
    with pytest.raises(UserError, match="no backbone apart"), cached(model, Plain(), {"train": []}):
        pass
