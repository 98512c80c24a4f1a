"""Ensembles of classifiers, against softmax in float64."""

import numpy as np
from scipy.special import softmax

from decant.task.classify import Classify

OBJECTIVE = Classify().objective


def test_an_ensemble_is_the_logarithm_of_the_mean_probability() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32) * 5
    combined = OBJECTIVE.ensemble(logits)
    assert combined.dtype == np.float32
    np.testing.assert_allclose(combined, np.log(softmax(logits.astype(float), axis=2).mean(0)), rtol=1e-5, atol=1e-6)


def test_an_ensemble_of_certain_models_is_finite() -> None:
    logits = np.array([[[1e4, -1e4]], [[1e4, -1e4]]], np.float32)
    assert np.isfinite(OBJECTIVE.ensemble(logits)).all()


def test_an_ensemble_of_one_gives_its_probabilities() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(softmax(OBJECTIVE.ensemble(logits), 1), softmax(logits[0], 1), rtol=1e-5)
