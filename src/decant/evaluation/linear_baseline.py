"""The linear baseline: logistic regression or its like on plain features, which any network has to beat."""

import pickle
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline

from decant.dataset.prepared import Prepared
from decant.evaluation.roles import Metrics
from decant.task import Scoring

STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse regularisation; validation chooses one of them."""


def fit(prepared: Prepared, scoring: Scoring) -> Pipeline:
    """The pipeline with the best of `STRENGTHS` on validation, fitted again on train and validation together."""
    inputs, targets = zip(*(inputs_and_targets(prepared, s) for s in ("train", "validation")), strict=True)

    def pipeline(strength: float) -> Pipeline:
        return make_pipeline(prepared.modality.feature_extractor(), scoring.linear_estimator(strength))

    def validation_score(strength: float) -> float:
        fitted = pipeline(strength).fit(inputs[0], targets[0])
        return scoring.score(scoring.linear_logits(fitted, inputs[1]), targets[1])

    best = max(STRENGTHS, key=validation_score)
    return pipeline(best).fit([*inputs[0], *inputs[1]], np.concatenate(targets))


def inputs_and_targets(prepared: Prepared, split: str) -> tuple[list[Any], np.ndarray]:
    """Raw inputs and encoded targets of a split."""
    frame = prepared.frames[split]
    return prepared.modality.raw(frame), np.stack(frame["target"].to_list())


def size(pipeline: Pipeline) -> Metrics:
    """Number of parameters, and megabytes when pickled."""
    estimator = pipeline[-1]
    estimators = getattr(estimator, "estimators_", [estimator])  # one for each label
    parameters = sum(e.coef_.size + np.size(e.intercept_) for e in estimators)
    return {"parameters": parameters, "size_mb": round(len(pickle.dumps(pipeline)) / 1e6, 3)}
