"""What an answer costs: CPU time from raw input to logits, at batch 1 and at batch 32."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

SINGLES = 60
"""Inputs sent one at a time, the same to each model."""
BLOCK = 10
"""Of them that a model gets in a row, after `WARM` that do not count: the threads of the one before still spin."""
WARM = 3
ROUNDS = 5
"""Batches of 32 per model; rounds take turns over the models, so that a busy neighbour hits all alike."""
Call = Callable[[Sequence[Any]], object]


def measure(answers: Mapping[str, Call], inputs: Sequence[Any]) -> dict[str, dict[str, float]]:
    """{role: latency_ms_p50, latency_ms_p95, throughput (inputs per second)}."""
    inputs = [inputs[i % len(inputs)] for i in range(max(SINGLES, 32))]
    singles: dict[str, list[float]] = {role: [] for role in answers}
    batches: dict[str, list[float]] = {role: [] for role in answers}
    for answer in answers.values():
        answer(inputs[:32])  # warm up
    for start in range(0, SINGLES, BLOCK):
        for role, answer in answers.items():
            block = inputs[:WARM] + inputs[start : start + BLOCK]
            singles[role] += [seconds(answer, [single]) for single in block][WARM:]
    for _ in range(ROUNDS):
        for role, answer in answers.items():
            answer(inputs[:32])
            batches[role].append(seconds(answer, inputs[:32]))
    return {
        role: {
            "latency_ms_p50": round(float(np.percentile(singles[role], 50)) * 1000, 3),
            "latency_ms_p95": round(float(np.percentile(singles[role], 95)) * 1000, 3),
            "throughput": round(32 / float(np.median(batches[role])), 1),
        }
        for role in answers
    }


def seconds(answer: Call, inputs: Sequence[Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    answer(inputs)
    return time.perf_counter() - start
