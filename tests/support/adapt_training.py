"""A training of a tiny network, whose weights are recorded after each step."""

from typing import Any

import torch
from transformers import AutoModel, PreTrainedModel

from decant.tracking.runs import Run
from decant.training.adaptation import Adapt
from decant.training.learner import SupervisedLearner
from decant.training.train import learn
from support.tiny_project import BACKBONES, write_prepared, write_teacher
from support.training_jobs import teacher_job

State = dict[str, torch.Tensor]


class MetricsRun(Run):
    """Keeps the last value of each logged metric."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, float] = {}

    def log_metrics(self, values: Any, step: int = 0) -> None:
        self.metrics |= values


class AdaptTraining:
    """Trains as fine-tune does, in the working directory: 24 rows in batches of 8, so three steps per epoch."""

    def __init__(self, kind: str, classes: int = 3) -> None:
        write_prepared(kind, classes)
        self.init_dir = write_teacher(BACKBONES[kind])
        self.weights: list[State] = []
        """The weights of the trained network after each step."""
        self.frozen: list[set[int] | None] = []
        """The frozen blocks in each step."""
        self.rates: list[list[float]] = []
        """The learning rate of each block in each step."""
        self.run = MetricsRun()

    def train(self, adapt: Adapt, *overrides: str) -> PreTrainedModel:
        recording = self

        class RecordingLearner(SupervisedLearner):
            def on_train_batch_end(self, *_: Any) -> None:
                recording.frozen.append(self.frozen)
                recording.weights.append({k: v.clone() for k, v in self.network.state_dict().items()})

            def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
                lr = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
                recording.rates.append([lr.get(id(block[0]), 0.0) for block in self.blocks])

        job = teacher_job(
            "fine_tune.epochs=2",
            *overrides,
            run=self.run,
            init_dir=self.init_dir,
            adapt=adapt,
            learner=RecordingLearner,
        )
        network, self.encoder, self.rows = learn(job)
        return network

    def initial_backbone(self) -> State:
        """The weights of the backbone before the training."""
        return dict(AutoModel.from_pretrained(self.init_dir).state_dict())


def same_weights(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(v, second[k]) for k, v in first.items())


def norm_statistics(state: State) -> State:
    """The statistics of batch normalisation."""
    return {k: v for k, v in state.items() if "running" in k or "num_batches" in k}
