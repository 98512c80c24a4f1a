"""Figures of quality on stored logits, and differences between models with paired bootstrap intervals."""

from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from torchmetrics.functional.classification import multiclass_calibration_error

from decant.config import Evaluate


def scores(logits: np.ndarray, target: np.ndarray, labels: list[str], bins: int) -> dict[str, Any]:
    """Accuracy, macro and per-class precision, recall and F1, and calibration error, all in [0, 1].

    Logits (N, C), targets (N,). The calibration error is the expected one (Guo et al. 2017,
    arXiv:1706.04599), over `bins` bins of confidence.
    """
    predicted = logits.argmax(1)
    classes = list(range(len(labels)))
    each = precision_recall_fscore_support(target, predicted, labels=classes, zero_division=0)
    macro = precision_recall_fscore_support(target, predicted, labels=classes, average="macro", zero_division=0)
    names = ("precision", "recall", "f1")
    probabilities = torch.from_numpy(logits).double().softmax(1)
    error = multiclass_calibration_error(probabilities, torch.tensor(target), len(labels), n_bins=bins)
    return {
        "accuracy": float(accuracy_score(target, predicted)),
        **{f"macro_{n}": float(v) for n, v in zip(names, macro[:3], strict=True)},
        "calibration_error": float(error),
        "per_class": {label: {n: float(each[j][i]) for j, n in enumerate(names)} for i, label in enumerate(labels)},
    }


def compare(logits: dict[str, np.ndarray], target: np.ndarray, knobs: Evaluate, seed: int) -> dict[str, dict[str, Any]]:
    """What each method is worth: {"student_teacher": ...}, each model against its control or its teacher."""
    pairs = [
        ("student", "teacher"),
        ("student", "alone"),
        ("student", "scratch"),
        ("teacher", "scratch"),
        ("teacher", "floor"),
        ("student", "floor"),
    ]
    return {
        f"{a}_{b}": paired(logits[a].argmax(1), logits[b].argmax(1), target, knobs, seed)
        for a, b in pairs
        if a in logits and b in logits
    }


def paired(first: np.ndarray, second: np.ndarray, target: np.ndarray, knobs: Evaluate, seed: int) -> dict[str, Any]:
    """Agreement, share retained, and the difference of accuracy with its interval.

    Classes (N,), (N,), (N,). The interval is a percentile bootstrap over test rows, the same rows for both
    models (Efron & Tibshirani 1993; Koehn 2004 for its use on test sets).
    """
    right = np.stack([first == target, second == target]).astype(float)  # (2, N)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(target), (knobs.resamples, len(target)))
    differences = (right[0] - right[1])[drawn].mean(1)
    tail = (1 - knobs.confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return {
        "agreement": float((first == second).mean()),
        "retained": float(right[0].mean() / right[1].mean()) if right[1].any() else None,
        "difference": float(right[0].mean() - right[1].mean()),
        "confidence": knobs.confidence,
        "low": float(low),
        "high": float(high),
    }
