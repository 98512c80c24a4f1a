"""Tiny networks of many architectures, with inputs for them."""

from types import SimpleNamespace
from typing import Any

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

from decant.dataset.modality import Batch, Batches
from decant.dataset.modality.text import TextEncoder
from decant.models.mlp_head import MLPHeadConfig

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


def tiny_network(name: str, classes: int = 3) -> PreTrainedModel:
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


def random_inputs(name: str, rows: int = 5) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(rows, 3, 32, 32) if name in IMAGES else torch.randint(3, 50, (rows, 8))


class TensorBatches(Batches):
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
    return model.eval()(**TensorBatches().inputs({"x": x})).logits


class TokenRows(TextEncoder):
    """Rows are tokens already."""

    def __init__(self) -> None:
        self.processor = SimpleNamespace(pad_token_id=7)
