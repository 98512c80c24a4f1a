"""The exported formats of a student, each scored again on the whole test set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decant.config.schema import Export
from decant.core.errors import UserError
from decant.dataset.modality import Row
from decant.dataset.prepared import Prepared
from decant.distillation.export.onnx import export_onnx
from decant.distillation.export.quantisation import quantise
from decant.models import directory, predictions
from decant.models.predictions import read_split
from decant.serving.model_formats import ONNX_FILE, ModelFormat
from decant.serving.predictor import OnnxPredictor
from decant.task import Scoring
from decant.tracking.runs import Run

Metrics = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes onnx/ and, if asked for, int8/ to a model directory: model.onnx and predictions.parquet in each.

    They are scored as they are served, from raw inputs. The scores on test decide nothing, except whether the files are
    accepted.
    """

    prepared: Prepared
    scoring: Scoring
    settings: Export
    threads: int
    run: Run

    def export(self, folder: Path) -> None:
        """Export the model in `folder`.

        Raises:
            UserError: a file that loses more of the primary metric on test than `max_metric_drop`, or a network that
                cannot be exported.
        """
        metrics: dict[str, Metrics] = {name: self.score(folder, name) for name in self.write(folder)}
        check_metric_drop(metrics, self.scoring.primary_metric, self.settings.max_metric_drop)

    def write(self, folder: Path) -> dict[ModelFormat, Path]:
        """The exported files by format."""
        network, encoder = directory.load(folder, self.prepared.modality)
        rows = encoder.rows(self.prepared.frames)
        formats: list[ModelFormat] = ["onnx", "int8"] if self.settings.int8 else ["onnx"]
        files = {name: folder / name / ONNX_FILE for name in formats}
        for file in files.values():
            file.parent.mkdir()
        export_onnx(network, encoder, rows["validation"][:2], files["onnx"])
        if "int8" in files:
            calibration = evenly_spaced(rows["train"], self.settings.calibration)
            quantise(network, encoder, calibration, files["onnx"], files["int8"])
        return files

    def score(self, folder: Path, name: ModelFormat) -> Metrics:
        """Write the predictions of an exported format on test, and compare them with those of the model in `folder`."""
        file, prepared = folder / name / ONNX_FILE, self.prepared
        logits = OnnxPredictor(folder, name, self.threads)(prepared.modality.raw(prepared.frames["test"]))
        predictions.write(file.parent, {"test": (prepared.ids("test"), logits)}, prepared.digests)
        metrics = metric_drop(folder, file.parent, prepared, self.scoring) | {"mb": file.stat().st_size / 1e6}
        report_metrics(f"student_{name}", metrics, self.run)
        return metrics


def evenly_spaced(rows: Sequence[Row], count: int) -> Sequence[Row]:
    """At most `count` rows, evenly from all: tables are often sorted by class."""
    return rows[:: max(1, len(rows) // count)][:count]


def metric_drop(before: Path, after: Path, prepared: Prepared, scoring: Scoring) -> Metrics:
    """The model in `after` compared with the one in `before` on test, from their stored predictions."""
    target = np.stack(prepared.frames["test"]["target"].to_list())
    logits = [read_split(folder, "test", prepared) for folder in (before, after)]
    scores = [scoring.score(values, target) for values in logits]
    return {
        f"test_{scoring.primary_metric}": scores[1],
        "metric_drop": scores[0] - scores[1],
        "largest_difference": float(np.abs(logits[1] - logits[0]).max()),
    }


def report_metrics(name: str, metrics: Metrics, run: Run) -> None:
    """Print and log metrics of one format."""
    print(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in metrics.items()), flush=True)
    run.log_metrics({f"{name}/{k}": v for k, v in metrics.items()})


def check_metric_drop(metrics: Mapping[str, Metrics], metric: str, limit: float) -> None:
    """Refuse files that lose more than `limit` of the primary metric.

    Raises:
        UserError: with every one.
    """
    problems = [
        f"{name} loses {100 * m['metric_drop']:.2f} points of {metric} on test ({100 * m[f'test_{metric}']:.2f} "
        f"left, largest difference of a logit {m['largest_difference']:.3g}), more than export.max_metric_drop, "
        f"{limit:g}, allows: raise it, or lower export.prune or set export.int8 to false"
        for name, m in metrics.items()
        if not m["metric_drop"] <= limit
    ]
    if problems:
        raise UserError(problems)
