"""What an answer costs: CPU time from raw text to class, at batch 1 and at batch 32."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from transformers import PreTrainedModel, PreTrainedTokenizerBase

SINGLES = 60
"""Texts sent one at a time, the same to each model."""
ROUNDS = 5
"""Batches of 32 per model; rounds take turns over the models, so that a busy neighbour hits all alike."""
Answer = Callable[[Sequence[str]], object]
Network = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def measure(linear: Pipeline, networks: Mapping[str, Network], texts: list[str]) -> dict[str, dict[str, float]]:
    """{role: latency_ms_p50, latency_ms_p95, throughput (texts per second)}, in fp32."""
    answers: dict[str, Answer] = {"floor": linear.predict}
    answers |= {role: answering(*loaded) for role, loaded in networks.items()}
    texts = [texts[i % len(texts)] for i in range(max(SINGLES, 32))]
    singles: dict[str, list[float]] = {role: [] for role in answers}
    batches: dict[str, list[float]] = {role: [] for role in answers}
    for answer in answers.values():
        answer(texts[:32])  # warm up
    for text in texts[:SINGLES]:
        for role, answer in answers.items():
            singles[role].append(seconds(answer, [text]))
    for _ in range(ROUNDS):
        for role, answer in answers.items():
            batches[role].append(seconds(answer, texts[:32]))
    return {
        role: {
            "latency_ms_p50": round(float(np.percentile(singles[role], 50)) * 1000, 3),
            "latency_ms_p95": round(float(np.percentile(singles[role], 95)) * 1000, 3),
            "throughput": round(32 / float(np.median(batches[role])), 1),
        }
        for role in answers
    }


def answering(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Answer:
    """A function from texts to classes (N,) on the CPU, tokenizer included."""

    @torch.inference_mode()
    def answer(texts: Sequence[str]) -> torch.Tensor:
        tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        return network(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits.argmax(1)

    return answer


def seconds(answer: Answer, texts: Sequence[str]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    answer(texts)
    return time.perf_counter() - start
