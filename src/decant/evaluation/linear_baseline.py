"""The linear floor: logistic regression or its like on plain features, the control that any network has to beat."""

import pickle
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline

from decant.dataset.prepared import Prepared
from decant.task import Scoring

STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse regularisation, chosen on validation."""


def fit(prepared: Prepared, scoring: Scoring) -> Pipeline:
    """The best of `STRENGTHS` on validation, fitted again on train and validation together."""
    inputs, targets = zip(*(columns(prepared, split) for split in ("train", "validation")), strict=True)

    def pipeline(strength: float) -> Pipeline:
        return make_pipeline(prepared.modality.feature_extractor(), scoring.linear_estimator(strength))

    def score(strength: float) -> float:
        fitted = pipeline(strength).fit(inputs[0], targets[0])
        return scoring.score(scoring.linear_logits(fitted, inputs[1]), targets[1])

    best = max(STRENGTHS, key=score)
    return pipeline(best).fit([*inputs[0], *inputs[1]], np.concatenate(targets))


def columns(prepared: Prepared, split: str) -> tuple[list[Any], np.ndarray]:
    """Raw inputs and targets of a split."""
    frame = prepared.frames[split]
    return prepared.modality.raw(frame), np.stack(frame["target"].to_list())


def size(linear: Pipeline) -> dict[str, Any]:
    """Parameters, and megabytes as stored."""
    fitted = linear[-1]
    parts = getattr(fitted, "estimators_", [fitted])  # one for each label
    parameters = sum(part.coef_.size + np.size(part.intercept_) for part in parts)
    return {"parameters": parameters, "size_mb": round(len(pickle.dumps(linear)) / 1e6, 3)}
