"""A training of seconds, as `fine_tune` does it, whose weights can be looked at after each step."""

from typing import Any

import torch
from transformers import AutoModel, PreTrainedModel

from decant.augment.none import NoAugmentation
from decant.config.schema import FineTune
from decant.task.classify import Classify
from decant.training.adaptation import Adapt
from decant.training.learner import SupervisedLearner
from decant.training.train import learn
from support.tiny_networks import TensorBatches
from support.tiny_project import RecordedRun
from support.training_jobs import teacher_job

State = dict[str, torch.Tensor]
OVERRIDES = ["fine_tune.epochs=2"]
HPARAMS = FineTune(
    epochs=1,
    control_epochs=1,
    folds=1,
    seeds=1,
    logits_dtype="float32",
    top_k_logits=None,
    lr=1e-3,
    batch_size=8,
    max_length=16,
    warmup=0.1,
    weight_decay=0.0,
    clip=1.0,
    label_smoothing=0.0,
    ema=0.0,
)


class WatchedTraining:
    """Trains the teacher that `tiny_project` wrote to the working directory."""

    def __init__(self) -> None:
        self.run = RecordedRun()
        self.learners: list[SupervisedLearner] = []
        """In the order in which they started."""
        self.frozen: list[set[int] | None] = []
        """The frozen blocks, by step."""
        self.lrs: list[list[float]] = []
        """The learning rate of each block, by step."""
        self.states: list[State] = []
        """The weights after each step."""

    @property
    def logged(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: value for (name, _), value in sorted(self.run.logged.items())}

    def train(self, adapt: Adapt, *overrides: str) -> PreTrainedModel:
        """The trained network."""
        watched = self

        class Watched(SupervisedLearner):
            def on_train_start(self) -> None:
                watched.learners.append(self)

            def on_train_batch_end(self, *_: Any) -> None:
                watched.frozen.append(self.frozen)
                watched.states.append({k: v.clone() for k, v in self.network.state_dict().items()})

            def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
                lr = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
                watched.lrs.append([lr.get(id(block[0]), 0.0) for block in self.blocks])

        job = teacher_job(*OVERRIDES, *overrides, run=self.run, adapt=adapt, learner=Watched)
        self.init_dir, self.prepared = job.init_dir, job.prepared
        network, self.encoder, self.rows = learn(job)
        return network

    def initial_backbone(self) -> State:
        """The weights of the backbone before the training."""
        return dict(AutoModel.from_pretrained(self.init_dir).state_dict())


def learner_of(network: PreTrainedModel, adapt: Adapt, **hparams: float) -> SupervisedLearner:
    """A learner that is not trained."""
    return SupervisedLearner(
        network,
        TensorBatches(),
        Classify().objective,
        HPARAMS.model_copy(update=hparams),
        1e-3,
        adapt,
        NoAugmentation(),
    )


def equal(first: State, second: State) -> bool:
    """Whether two states hold the same tensors, bit by bit."""
    return first.keys() == second.keys() and all(torch.equal(v, second[k]) for k, v in first.items())


def statistics(state: State) -> State:
    """The running statistics of batch normalisation."""
    return {k: v for k, v in state.items() if "running" in k or "num_batches" in k}
