"""What a person reads of a result: the same words of a fresh one and of a restored one, and none that noise made."""

import json
from typing import Any

import pytest

from decant.evaluation import summary
from decant.evaluation.roles import COMPARISONS, TITLES, comparison


def compared(difference: float) -> dict[str, float]:
    ends = {"retained": 0.9, "retained_low": 0.8, "retained_high": 1.0}
    return {"difference": difference, "low": -1.0, "high": 1.0, "confidence": 0.95, "agreement": 0.5, **ends}


@pytest.fixture
def metrics() -> dict[str, Any]:
    sizes = {"size_mb": 2.0, "largest_difference": 0.0}
    return {
        "report": {
            "linear_features": "tf-idf",
            "agreement_sentence": "agrees on {} %",
            "primary_metric": "accuracy",
            "columns": [],
        },
        "compare": {comparison(*pair): compared(n / 100) for n, pair in enumerate(COMPARISONS)},
        "gap": {role: {"closed": 0.5, "low": 0.1, "high": 0.9} for role in ("student", "student_onnx", "student_int8")},
        **{role: dict(sizes) for role in TITLES},
    }


def timed(int8: float) -> dict[str, Any]:
    """Medians of 10 ms, but of int8."""
    return {
        role: {"latency_ms_p50": int8 if role == "student_int8" else 10.0}
        for role in ("teacher", "student", "student_onnx", "student_int8")
    }


def test_a_restored_result_reads_as_the_fresh_one_did(metrics: dict[str, Any]) -> None:
    restored = json.loads(json.dumps(metrics, sort_keys=True))
    assert summary.sentences(restored) == summary.sentences(metrics)
    times = timed(9.0)
    assert summary.speed(restored, json.loads(json.dumps(times, sort_keys=True))) == summary.speed(metrics, times)
    assert summary.sentences(metrics)[0].startswith("student against teacher: +0.0 points")


@pytest.mark.parametrize(("median", "told"), [(9.0, False), (10.5, False), (11.5, True)])
def test_int8_is_called_slower_where_that_is_no_noise(median: float, told: bool, metrics: dict[str, Any]) -> None:
    assert told == any(line.startswith("int8 is slower") for line in summary.speed(metrics, timed(median)))
