"""Networks of every kind that is exported to ONNX, with rows for them."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ConvNextConfig,
    ConvNextForImageClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    MobileNetV1Config,
    MobileNetV1ForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.backbone.siamese_network import SiameseConfig, SiameseForSequenceClassification
from decant.dataset.modality import Encoder, Row
from decant.dataset.modality.image import ImageEncoder
from decant.distillation.export.onnx import export_onnx
from decant.models import surgery
from decant.models.mlp_head import MLPHeadConfig, MLPHeadForClassification
from support.tiny_networks import TokenRows

SIDE = 32
SHAPE = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
PLAIN = {"vocab_size": 200, "dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 64, "initializer_range": 0.2}
RESIDUAL = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
PATCHES = {**SHAPE, "num_hidden_layers": 1, "image_size": SIDE, "patch_size": 8}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "layer_scale_init_value": 0.5}
BODY = BertConfig(**SHAPE | {"num_hidden_layers": 1}).to_dict()


def averaging() -> PreTrainedModel:
    network = BertForSequenceClassification(BertConfig(**SHAPE, num_labels=3))
    surgery.append_mean_pooling_layer(network.bert)
    return network


TEXTS = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SHAPE, num_labels=3)),
    "averaging": averaging,
    "distilbert": lambda: DistilBertForSequenceClassification(DistilBertConfig(**PLAIN, num_labels=3)),
    "lstm": lambda: LSTMForSequenceClassification(LSTMConfig(200, 16, 24, num_labels=3)),
    "mlp head": lambda: MLPHeadForClassification(MLPHeadConfig(BODY, 32, 16, True, True, num_labels=2)),
}
PAIRS = {
    "bert on pairs": TEXTS["bert"],
    "siamese": lambda: SiameseForSequenceClassification(SiameseConfig(BODY, 5.0, num_labels=3)),
}
IMAGES = {
    "mobilenet v1": lambda: MobileNetV1ForImageClassification(
        MobileNetV1Config(image_size=SIDE, depth_multiplier=0.25, num_labels=3)
    ),
    "mobilenet v2": lambda: MobileNetV2ForImageClassification(
        MobileNetV2Config(image_size=SIDE, depth_multiplier=0.25, num_labels=3)
    ),
    "resnet": lambda: ResNetForImageClassification(ResNetConfig(**RESIDUAL, num_labels=3)),
    "mlp head on resnet": lambda: MLPHeadForClassification(
        MLPHeadConfig(ResNetConfig(**RESIDUAL).to_dict(), 16, 8, num_labels=3)
    ),
    "convnext": lambda: ConvNextForImageClassification(ConvNextConfig(**STAGES, num_labels=3)),
    "vit": lambda: ViTForImageClassification(ViTConfig(**PATCHES, num_labels=3)),
}
ALL = TEXTS | PAIRS | IMAGES


class PixelRows(ImageEncoder):
    """Of images of the network's size, without a model directory."""

    def __init__(self, side: int) -> None:
        self.size = self.resolution = side
        self.mean = self.std = torch.full((1, 3, 1, 1), 0.5)


def network_and_encoder(name: str) -> tuple[PreTrainedModel, Encoder]:
    """A network whose logits differ from row to row, and what it takes."""
    torch.manual_seed(0)
    network = ALL[name]().eval()
    if name not in IMAGES:
        return network, TokenRows()
    set_statistics(network)
    return network, PixelRows(SIDE)


@torch.no_grad()
def set_statistics(network: PreTrainedModel) -> None:
    """Statistics of batch normalisation from noise; without them untrained logits are all but equal."""
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    network(torch.randn(16, 3, SIDE, SIDE))
    network.eval()


def random_rows(name: str, number: int = 90, seed: int = 0) -> list[Row]:
    """Of lengths from 2 to 60, or images."""
    draw = np.random.default_rng(seed)
    if name in IMAGES:
        return [Row(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), 0) for _ in range(number)]
    ids = [draw.integers(1, 200, n) for n in draw.integers(4, 60, number)]
    if name in PAIRS:
        return [Row(np.stack([i, np.arange(len(i)) >= draw.integers(2, len(i))], axis=1), 0) for i in ids]
    return [Row(i.tolist(), 0) for i in ids]


def exported_graph(name: str, folder: Path) -> Path:
    """The graph of a network, made once."""
    file = folder / f"{name}.onnx"
    if not file.exists():
        network, encoder = network_and_encoder(name)
        export_onnx(network, encoder, random_rows(name, 2), file)
    return file
