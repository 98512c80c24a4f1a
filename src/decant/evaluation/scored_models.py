"""The models that evaluate scores: where they are, their predictions on test, their costs, and how to time them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from transformers import PreTrainedModel

from decant.core import manifest
from decant.dataset.modality import Encoder
from decant.dataset.prepared import Prepared
from decant.evaluation import linear_baseline
from decant.evaluation.members import joint
from decant.models import directory, predictions
from decant.models.predictions import ensemble_members, read_split
from decant.serving.model_formats import ONNX_FILE, ModelFormat
from decant.serving.predictor import OnnxPredictor
from decant.task import Scoring, Task

NETWORKS = {
    "scratch": Path("data/fine_tune/control"),
    "teacher": Path("data/fine_tune"),
    "student_alone": Path("data/distill/control"),
    "student": Path("data/distill"),
}
"""Model directories by role."""
REQUIRED = ("teacher", "student")
"""Roles without which there is nothing to evaluate."""
FORMATS: dict[str, ModelFormat] = {"student_onnx": "onnx", "student_int8": "int8"}
"""The student's files for ONNX Runtime, by role."""


UNSERVED = (predictions.FILE, manifest.FILE)
"""Files of a model directory that count for nothing in its size."""


@dataclass(frozen=True)
class ScoredModels:
    """The models that are there, by role."""

    linear: Pipeline
    networks: Mapping[str, Sequence[tuple[PreTrainedModel, Encoder]]]
    """One network and its encoder; of an ensemble, those of each member."""
    formats: Mapping[str, ModelFormat]

    def logits(self, prepared: Prepared, scoring: Scoring) -> dict[str, np.ndarray]:
        """Logits (N, C) on test; those of networks are the stored predictions."""
        inputs = prepared.modality.raw(prepared.frames["test"])
        folders = {role: NETWORKS[role] for role in self.networks}
        folders |= {role: NETWORKS["student"] / model_format for role, model_format in self.formats.items()}
        return {"linear": scoring.linear_logits(self.linear, inputs)} | {
            role: read_split(folder, "test", prepared) for role, folder in folders.items()
        }

    def costs(self) -> dict[str, dict[str, float]]:
        """Number of parameters and megabytes."""
        costs = {"linear": linear_baseline.size(self.linear)}
        for role, members in self.networks.items():
            parameters = sum(network.num_parameters() for network, _ in members)
            costs[role] = {"parameters": parameters, "size_mb": megabytes(ensemble_members(NETWORKS[role]))}
        for role, model_format in self.formats.items():
            size = megabytes([NETWORKS["student"]], model_format)
            costs[role] = {"parameters": costs["student"]["parameters"], "size_mb": size}
        return costs

    def predict_fns(self, task: Task, threads: int) -> dict[str, Callable[[Sequence[Any]], object]]:
        """Functions from raw inputs to predictions, as a server calls them."""
        functions: dict[str, Callable[[Sequence[Any]], object]] = {"linear": self.linear.predict}
        for role, members in self.networks.items():
            functions[role] = joint([encoder.predict_fn(network) for network, encoder in members], task.objective)
        for role, model_format in self.formats.items():
            functions[role] = OnnxPredictor(NETWORKS["student"], model_format, threads)
        return functions


def load_models(prepared: Prepared, scoring: Scoring) -> ScoredModels:
    """Load the networks of all `NETWORKS` that are there, and fit the linear baseline."""
    roles = [role for role, folder in NETWORKS.items() if folder.is_dir() or role in REQUIRED]
    networks = {
        role: [directory.load(member, prepared.modality) for member in ensemble_members(NETWORKS[role])]
        for role in roles
    }
    formats = {role: name for role, name in FORMATS.items() if (NETWORKS["student"] / name).is_dir()}
    return ScoredModels(linear_baseline.fit(prepared, scoring), networks, formats)


def megabytes(folders: Sequence[Path], model_format: ModelFormat | None = None) -> float:
    """Size of what a server needs of all folders: config, tokenizer, and weights or an ONNX file."""
    files = [f for folder in folders for f in folder.iterdir() if f.is_file() and f.name not in UNSERVED]
    if model_format:
        files = [f for f in files if f.suffix != ".safetensors"] + [f / model_format / ONNX_FILE for f in folders]
    return round(sum(f.stat().st_size for f in files) / 1e6, 3)
