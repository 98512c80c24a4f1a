"""What fine-tune and distill share: from a model directory and prepared tables to a trained model directory."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedModel

from decant.adapt import Adapt, Probe
from decant.adapt.full import Full
from decant.augment import Augment
from decant.augment.none import NoAugmentation
from decant.config.compose import piece
from decant.config.schema import Training, section
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.core.processes import rank
from decant.data import SPLITS
from decant.dataset.modality import Batches, Encoder, Row
from decant.dataset.prepared import Prepared, read_prepared
from decant.models import directory, predictions
from decant.models.logits_storage import Storage
from decant.task import Task
from decant.tracking.runs import Run
from decant.training.datamodule import Data
from decant.training.feature_cache import cached
from decant.training.learner import Learner
from decant.training.trainer import advice, device, fit

PRETRAINED = Path("data/pretrain_load")
Rows = dict[str, list[Row]]
Choose = Callable[[Rows, Prepared], list[Row]]
Build = Callable[[PreTrainedModel, Batches, Task, Training, float, Adapt, Augment], Learner]


def labelled(rows: Rows, prepared: Prepared) -> list[Row]:
    """The rows to train on without a teacher."""
    return rows["train"]


def train(
    cfg: DictConfig,
    knobs: Training,
    start: Path,
    folder: Path,
    tracked: Run,
    build: Build,
    adapt: Adapt | None = None,
    chosen: Choose = labelled,
    splits: Sequence[str] = SPLITS,
    storage: Storage = Storage(),  # noqa: B008
    seed: int | None = None,
) -> None:
    """Train what `build` makes of the backbone at `start` on the `chosen` rows; write it to `folder`.

    `adapt`: how (default: full). `folder` becomes a model directory with predictions on every row of `splits`.
    `seed`: in place of the experiment's.
    """
    prepared = read_prepared()
    if seed is not None:
        cfg = OmegaConf.merge(cfg, {"seed": seed})  # type: ignore[assignment]
    network, encoder, rows = learn(
        cfg, knobs, prepared, piece(cfg, "task"), start, tracked, build, adapt or Full(), chosen
    )
    if rank() == 0:
        directory.save(network, encoder.processor, folder)
        logits = {s: (prepared.ids(s), directory.predict(network, encoder, rows[s])) for s in rows if s in splits}
        if not all(np.isfinite(values).all() for _, values in logits.values()):
            raise UserError(f"the trained network gives logits that are not finite; {advice(knobs)}")
        predictions.write(folder, logits, prepared.digests, storage)


def learn(
    cfg: DictConfig,
    knobs: Training,
    prepared: Prepared,
    task: Task,
    start: Path,
    tracked: Run,
    build: Build,
    adapt: Adapt,
    chosen: Choose = labelled,
) -> tuple[PreTrainedModel, Encoder, Rows]:
    """The trained network, its encoder, and the encoded rows of all splits."""
    pl.seed_everything(cfg.seed, verbose=False)
    scale = read_json(start / "manifest.json")["lr_scale"]
    with directory.reading_model_directory(start):
        encoder = prepared.modality.encoder(start, knobs.max_length)
        network = task.model(start, prepared.labels, prepared.modality.auto_model(), adapt)
    rows = encoder.rows(prepared.frames)
    picked = {"train": chosen(rows, prepared), "validation": rows["validation"]}
    soft = [row.soft for row in picked["train"] if row.soft is not None]
    if not read_json(start / "config.json").get("problem_type"):  # else its head has been trained
        task.start(network, np.stack([row.target for row in picked["train"]]), np.stack(soft) if soft else None)
    if adapt.probe:
        prefix = "probe/" if adapt.tunes else ""
        probe(cfg, probing(knobs, adapt.probe), network, encoder, task, picked, build, tracked, prefix)
    if adapt.tunes:
        augment: Augment = piece(cfg, "augment")
        augment.bind(encoder)
        learner = build(adapt.wrap(network), encoder, task, knobs, knobs.lr * scale, adapt, augment)
        data = Data(picked["train"], picked["validation"], encoder, knobs.batch_size, cfg.seed, section=section(knobs))
        network = adapt.unwrap(fit(learner, data, knobs.epochs, cfg, tracked))
    return network, encoder, rows


def probing(knobs: Training, probe: Probe) -> Training:
    """The knobs of a probe: those of the stage, where the probe has none of its own."""
    return dataclasses.replace(knobs, epochs=probe.epochs, lr=probe.lr, batch_size=probe.batch_size, ema=0.0)


def probe(
    cfg: DictConfig,
    knobs: Training,
    network: PreTrainedModel,
    encoder: Batches,
    task: Task,
    rows: Rows,
    build: Build,
    tracked: Run,
    prefix: str,
) -> None:
    """Train the head of `network` in place, on cached features."""
    with cached(network.to(device(cfg)), encoder, rows) as (features, kept):
        learner = build(network, features, task, knobs, knobs.lr, Full(), NoAugmentation())
        data = Data(kept["train"], kept["validation"], features, knobs.batch_size, cfg.seed, shrink=True)
        place = fit(learner, data, knobs.epochs, cfg, tracked, prefix).device
    network.to(place)  # the trainer took the head alone
