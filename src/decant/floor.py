"""The linear floor: TF-IDF and logistic regression, the control that any network has to beat."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse regularisation, chosen on validation."""


def fit(train: pd.DataFrame, validation: pd.DataFrame) -> Pipeline:
    """The best of `STRENGTHS` on validation, fitted again on train and validation together."""

    def pipeline(strength: float) -> Pipeline:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        return make_pipeline(words, LogisticRegression(C=strength, max_iter=1000))

    def score(strength: float) -> float:
        fitted = pipeline(strength).fit(train["input"], train["target"])
        return float(fitted.score(validation["input"], validation["target"]))

    both = pd.concat([train, validation])
    return pipeline(max(STRENGTHS, key=score)).fit(both["input"], both["target"])


def logits(linear: Pipeline, inputs: "pd.Series[str]") -> np.ndarray:
    """Log-probabilities (N, C)."""
    return linear.predict_log_proba(inputs).astype(np.float32)


def size(linear: Pipeline) -> dict[str, Any]:
    """Parameters, and megabytes as stored."""
    regression = linear[-1]
    parameters = regression.coef_.size + regression.intercept_.size
    return {"parameters": parameters, "size_mb": round(len(pickle.dumps(linear)) / 1e6, 3)}
