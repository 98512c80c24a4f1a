"""The student's files for ONNX Runtime, part of what distill hands on; each is scored again on the whole test set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from transformers import PreTrainedModel

from decant.config.compose import piece, settings
from decant.config.schema import Export
from decant.core.errors import UserError
from decant.dataset.modality import Encoder, Row
from decant.dataset.prepared import Prepared
from decant.distillation.export.onnx import arrays, convolutional, export_onnx
from decant.distillation.export.quantisation import dynamic_int8, static_int8
from decant.models import directory, predictions
from decant.models.predictions import stored
from decant.serving import predictor
from decant.serving.predictor import FILE
from decant.task import Task
from decant.tracking.runs import Run

CALIBRATED = 16
"""Rows of a pass of the calibration."""


def write(cfg: DictConfig, folder: Path, prepared: Prepared, tracked: Run) -> None:
    """Write onnx/ and, if asked for, int8/ to the model directory `folder`: model.onnx and predictions.parquet each.

    They are scored as they are served, from raw inputs; on test, for nothing is chosen by it but to hand on or not.

    Raises:
        UserError: a file that loses more of the primary metric on test than `export.most_lost`, or a network that
            cannot be exported.
    """
    knobs: Export = settings(cfg, "export")
    task: Task = piece(cfg, "task")
    network, encoder = directory.load(folder, prepared.modality)
    rows = encoder.rows(prepared.frames)
    whole = folder / "onnx" / FILE
    whole.parent.mkdir()
    export_onnx(network, encoder, rows["validation"][:2], whole)
    made = {"onnx": whole}
    if knobs.int8:
        made["int8"] = folder / "int8" / FILE
        made["int8"].parent.mkdir()
        quantise(network, encoder, spread(rows["train"], knobs.calibration), whole, made["int8"])
    found = {}
    for role, file in made.items():
        served = predictor.Model(folder, role, cfg.trainer.threads)(prepared.modality.raw(prepared.frames["test"]))
        predictions.write(file.parent, {"test": (prepared.ids("test"), served)}, prepared.digests)
        found[role] = {**figures(folder, file.parent, prepared, task), "mb": file.stat().st_size / 1e6}
        told(f"student_{role}", found[role], tracked)
    gate(found, task, knobs.most_lost)


def quantise(network: PreTrainedModel, encoder: Encoder, rows: Sequence[Row], source: Path, file: Path) -> None:
    """Write the graph `source` of `network` in 8 bits: calibrated on `rows` where it has convolutions."""
    if not convolutional(network):
        dynamic_int8(source, file)
        return
    parts = (rows[i : i + CALIBRATED] for i in range(0, len(rows), CALIBRATED))
    static_int8(source, file, (arrays(encoder.inputs(encoder.collate(part))) for part in parts))


def spread(rows: Sequence[Row], count: int) -> Sequence[Row]:
    """At most `count` rows, evenly from all: tables are often sorted by class."""
    return rows[:: max(1, len(rows) // count)][:count]


def figures(before: Path, after: Path, prepared: Prepared, task: Task) -> dict[str, float]:
    """What the model in `after` gives on test beside the one in `before`, from their stored predictions."""
    target = np.stack(prepared.frames["test"]["target"].to_list())
    logits = [stored(folder, "test", prepared) for folder in (before, after)]
    scores = [task.scoring.score(values, target) for values in logits]
    return {
        f"test_{task.scoring.primary_metric}": scores[1],
        "lost": scores[0] - scores[1],
        "largest_difference": float(np.abs(logits[1] - logits[0]).max()),
    }


def told(role: str, found: dict[str, float], tracked: Run) -> None:
    """Print and log figures."""
    print(f"{role}: " + ", ".join(f"{k} {v:.4g}" for k, v in found.items()), flush=True)
    tracked.metrics({f"{role}/{k}": v for k, v in found.items()})


def gate(found: dict[str, dict[str, float]], task: Task, most: float) -> None:
    """Refuse to hand on files that lose too much."""
    metric = task.scoring.primary_metric
    bad = [
        f"{role} loses {100 * f['lost']:.2f} points of {metric} on test ({100 * f[f'test_{metric}']:.2f} "
        f"left, largest difference of a logit {f['largest_difference']:.3g}), more than export.most_lost, "
        f"{most:g}, allows: raise it, or lower export.prune or set export.int8 to false"
        for role, f in found.items()
        if not f["lost"] <= most
    ]
    if bad:
        raise UserError(bad)
