"""The typed experiment: what a stage gets in place of a config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from decant.augment import Augment
from decant.backbone import Backbone
from decant.config.compose import CONFIG_KEYS, Values, composed
from decant.config.schema import SECTIONS, Distill, Evaluate, Export, FineTune, Prepare, PretrainLoad, Trainer
from decant.config.validation import key_problems, validated
from decant.core.errors import UserError
from decant.data import Source
from decant.experiment.components import build_components
from decant.loss import Loss
from decant.pretrain import Pretrain
from decant.task import Task
from decant.training.adaptation import Adapt

MAX_SEED = 2**32 - 1
"""Largest seed that NumPy and PyTorch both take."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment: its components by role, the values of its sections, its hardware."""

    seed: int
    use: Mapping[str, str]
    """The name of the component in each role."""

    data: Source
    task: Task
    source: Source
    """What `pretrain` learns from, where it needs a source."""
    pretrain: Pretrain
    teacher: Backbone
    student: Backbone
    scratch: Backbone
    adapt: Adapt
    augment: Augment
    loss: Loss

    prepare: Prepare
    pretrain_load: PretrainLoad
    fine_tune: FineTune
    distill: Distill
    export: Export
    evaluate: Evaluate
    trainer: Trainer

    config: Values
    """The whole config as plain values: what is recorded of the experiment."""

    @classmethod
    def load(cls, overrides: Sequence[str] = (), root: Path | None = None) -> Self:
        """Compose and check params.yaml and conf/ under `root` (default: the working directory).

        Raises:
            UserError: with every unknown component, misspelt key and value out of range.
        """
        config = composed(overrides, root)
        problems = key_problems("params.yaml", config, CONFIG_KEYS, CONFIG_KEYS)
        sections: dict[str, Any] = {}
        for name, kind in SECTIONS.items():
            file = "conf/trainer/" if name == "trainer" else "params.yaml"
            sections[name], invalid = validated(kind, config.get(name), name, file)
            problems += invalid
        components, invalid = build_components(config)
        problems += invalid
        seed = config.get("seed")
        if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
            problems.append(f"seed is {seed!r}, expected a whole number from 0 to 2^32 - 1")
        if problems:
            raise UserError(problems)
        return cls(seed=config["seed"], use=config["use"], config=config, **components, **sections)
