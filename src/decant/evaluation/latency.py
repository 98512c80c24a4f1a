"""The cost of a prediction: CPU time from raw input to logits, one input at a time and in batches of 32."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from decant.evaluation.roles import Timings

SINGLES = 60
"""Inputs that are timed one at a time, the same for each model."""
BLOCK = 10
"""How many of them a model gets in a row, after `WARM_UP` uncounted ones: threads of the previous model still spin."""
WARM_UP = 3
BATCH_SIZE = 32
ROUNDS = 5
"""Timed batches per model. Models take turns, so that a busy neighbour slows all of them alike."""
Call = Callable[[Sequence[Any]], object]


def measure(models: Mapping[str, Call], inputs: Sequence[object]) -> Timings:
    """{role: latency_ms_p50, latency_ms_p95, throughput (inputs per second)}."""
    inputs = [inputs[i % len(inputs)] for i in range(max(SINGLES, BATCH_SIZE))]
    for model in models.values():
        model(inputs[:BATCH_SIZE])  # warm up
    singles, batches = time_singles(models, inputs), time_batches(models, inputs[:BATCH_SIZE])
    return {
        role: {
            "latency_ms_p50": round(float(np.percentile(singles[role], 50)) * 1000, 3),
            "latency_ms_p95": round(float(np.percentile(singles[role], 95)) * 1000, 3),
            "throughput": round(BATCH_SIZE / float(np.median(batches[role])), 1),
        }
        for role in models
    }


def time_singles(models: Mapping[str, Call], inputs: list[object]) -> dict[str, list[float]]:
    """Seconds of each of `SINGLES` inputs by itself."""
    times: dict[str, list[float]] = {role: [] for role in models}
    for start in range(0, SINGLES, BLOCK):
        for role, model in models.items():
            block = inputs[:WARM_UP] + inputs[start : start + BLOCK]
            times[role] += [seconds(model, [single]) for single in block][WARM_UP:]
    return times


def time_batches(models: Mapping[str, Call], batch: Sequence[object]) -> dict[str, list[float]]:
    """Seconds of `ROUNDS` passes over the batch."""
    times: dict[str, list[float]] = {role: [] for role in models}
    for _ in range(ROUNDS):
        for role, model in models.items():
            model(batch)
            times[role].append(seconds(model, batch))
    return times


def seconds(model: Call, inputs: Sequence[object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    model(inputs)
    return time.perf_counter() - start
