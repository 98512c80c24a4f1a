"""Training: from a model directory and prepared tables to a trained model directory."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from transformers import PreTrainedModel

from decant.augment.none import NoAugmentation
from decant.config.schema import Training
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.core.processes import rank
from decant.dataset.modality import Encoder
from decant.models import directory, predictions
from decant.models.damage import reading_model_directory
from decant.models.logits_storage import Storage
from decant.training.adaptation import Adapt, Probe
from decant.training.datamodule import DataModule
from decant.training.feature_cache import feature_cache
from decant.training.job import Rows, TrainingJob
from decant.training.trainer import divergence_advice, fit, process_device


def train(job: TrainingJob, folder: Path, splits: Sequence[str] | None = None, storage: Storage | None = None) -> None:
    """Do a training, and write the model directory with predictions on every row of `splits` (default: all)."""
    network, encoder, rows = learn(job)
    if rank() == 0:
        directory.save(network, encoder.processor, folder)
        ids = job.prepared.ids
        wanted = [s for s in rows if splits is None or s in splits]
        logits = {s: (ids(s), directory.predict(network, encoder, rows[s])) for s in wanted}
        if not all(np.isfinite(values).all() for _, values in logits.values()):
            raise UserError(f"the trained network gives logits that are not finite; {divergence_advice(job.hparams)}")
        predictions.write(folder, logits, job.prepared.digests, storage or Storage())


def learn(job: TrainingJob) -> tuple[PreTrainedModel, Encoder, Rows]:
    """The trained network, its encoder, and the encoded rows of all splits."""
    pl.seed_everything(job.seed, verbose=False)
    lr_scale = read_json(job.init_dir / "manifest.json")["lr_scale"]
    with reading_model_directory(job.init_dir):
        encoder = job.prepared.modality.encoder(job.init_dir, job.hparams.max_length)
        network = job.objective.build_network(
            job.init_dir, job.prepared.labels, job.prepared.modality.auto_model(), job.adapt.head
        )
    rows = encoder.rows(job.prepared.frames)
    fit_rows = {"train": job.select_rows(rows, job.prepared), "validation": rows["validation"]}
    init_head(job, network, fit_rows)
    if job.adapt.probe:
        train_head(job, job.adapt.probe, network, encoder, fit_rows)
    if job.adapt.trains_backbone:
        job.augment.bind(encoder)
        lr = job.hparams.lr * lr_scale
        learner = job.learner(job.adapt.wrap(network), encoder, job.objective, job.hparams, lr, job.adapt, job.augment)
        network = job.adapt.unwrap(fit(learner, data_module(job, fit_rows, encoder), job))
    return network, encoder, rows


def init_head(job: TrainingJob, network: PreTrainedModel, rows: Rows) -> None:
    """Set the initial bias of a new head; a head that has been trained stays."""
    if read_json(job.init_dir / "config.json").get("problem_type"):
        return
    soft = [row.soft for row in rows["train"] if row.soft is not None]
    targets = np.stack([row.target for row in rows["train"]])
    job.objective.init_head_bias(network, targets, np.stack(soft) if soft else None)


def data_module(job: TrainingJob, rows: Rows, encoder: Encoder) -> DataModule:
    """The batches of a training."""
    batch_size, section = job.hparams.batch_size, job.hparams.section
    return DataModule(rows["train"], rows["validation"], encoder, batch_size, job.seed, section=section)


def train_head(job: TrainingJob, probe: Probe, network: PreTrainedModel, encoder: Encoder, rows: Rows) -> None:
    """Train the head of `network` in place, on cached features."""
    prefix = "probe/" if job.adapt.trains_backbone else ""
    hparams = probe_hparams(job.hparams, probe)
    job = dataclasses.replace(job, hparams=hparams, adapt=Adapt(), augment=NoAugmentation())
    with feature_cache(network.to(process_device(job.trainer)), encoder, rows) as (features, cached):
        learner = job.learner(network, features, job.objective, hparams, hparams.lr, job.adapt, job.augment)
        data = DataModule(cached["train"], cached["validation"], features, hparams.batch_size, job.seed, shrink=True)
        device = fit(learner, data, job, prefix).device
    network.to(device)  # the trainer moved the head alone


def probe_hparams(hparams: Training, probe: Probe) -> Training:
    """The hyperparameters of the stage, with those that the probe has of its own."""
    return hparams.model_copy(
        update={"epochs": probe.epochs, "lr": probe.lr, "batch_size": probe.batch_size, "ema": 0.0}
    )
