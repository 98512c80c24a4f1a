"""The sections of params.yaml: what each knob means, and which values it takes."""

import math
from dataclasses import dataclass
from os.path import normpath
from typing import Any

from decant.core.errors import require


@dataclass
class Prepare:
    """Section `prepare`: how missing splits are made."""

    validation: float
    """Share of train that becomes validation where the source has none, in (0, 0.5]."""
    test: float
    """Share of train that becomes test where the source has none, in (0, 0.5]."""
    labels_per_class: int | None
    """Keep the labels of so many rows of each class, validation included; the others become unlabelled. null: all."""

    copies: int
    """Add so many changed copies of each text of train and unlabelled to the unlabelled rows; 0: none."""

    def __post_init__(self) -> None:
        checks = {k: (0 < getattr(self, k) <= 0.5, "in (0, 0.5]") for k in ("validation", "test")}
        checks["copies"] = (self.copies >= 0, "0 or more")
        checks["labels_per_class"] = (self.labels_per_class is None or self.labels_per_class >= 2, "2 or more, or null")
        require(self, **checks)


@dataclass
class Training:
    """Section `pretrain_load`; it has an effect where `use.pretrain` is not none."""

    epochs: int
    """Passes over the training rows."""
    lr: float
    """Peak learning rate of AdamW, times the `lr_scale` of the backbone."""
    batch_size: int
    """Rows per optimizer step, over all devices together."""
    max_length: int
    """Tokens kept of an input; the rest is cut off."""
    warmup: float
    """Share of the steps with a rising learning rate, in [0, 1); then it falls linearly to 0."""
    weight_decay: float
    clip: float
    """Largest norm of the gradient; above it the gradient is scaled down."""
    label_smoothing: float
    """Share of the target that is spread over all classes, in [0, 1) (Szegedy et al. 2016, arXiv:1512.00567)."""
    ema: float
    """Weights are averaged over steps with this decay, in [0, 1); 0: not at all (Polyak & Juditsky 1992)."""

    def __post_init__(self) -> None:
        checks = {k: (getattr(self, k) > 0, "above 0") for k in ("epochs", "lr", "batch_size", "max_length", "clip")}
        checks |= {k: (0 <= getattr(self, k) < 1, "in [0, 1)") for k in ("warmup", "label_smoothing", "ema")}
        checks["lr"] = (0 < self.lr < math.inf, "a number above 0")
        checks["weight_decay"] = (0 <= self.weight_decay < math.inf, "0 or more")
        require(self, **checks)


@dataclass
class Controlled(Training):
    """Section `distill`: training with a control beside it."""

    control_epochs: int
    """Passes of the control, over the labelled rows: as many as give it its best chance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, control_epochs=(self.control_epochs > 0, "above 0"))


@dataclass
class FineTune(Controlled):
    """Section `fine_tune`."""

    folds: int
    """1: one teacher; k: k teachers, each trained without one k-th of train, that teach together (cross-validation)."""
    seeds: int
    """1: one teacher; k: k teachers, each trained on all of train from a seed of its own, that teach together."""
    half_logits: bool
    """Store the soft targets (logits on train and unlabelled rows) in half precision."""
    top_logits: int | None
    """Store so many of a row's soft targets, the largest, and what the others have in common; null: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        together = self.folds > 1 and self.seeds > 1
        require(
            self,
            folds=(self.folds > 0 and not together, "1 or more; 1 where seeds is more"),
            seeds=(self.seeds > 0, "1 or more"),
            top_logits=(self.top_logits is None or self.top_logits > 0, "1 or more, or null"),
        )


@dataclass
class Distill(Controlled):
    """Section `distill`."""

    start: str
    """Whose layers the student starts from: `pretrained`, its own weights; `teacher`, the same layers, fine-tuned."""
    vocabulary: str
    """`all` tokens of the student's tokenizer, or those `used` by train and unlabelled texts, and single characters."""
    dropout: float | None
    """Dropout of a student that a teacher helps, in [0, 1); null, and for the control always: its own."""
    consistent: bool
    """Run the teacher beside the student, on the same augmented input (Beyer et al. 2022, arXiv:2106.05237)."""
    teachers: list[str]
    """Folders under data/raw/ with the predictions.parquet of further teachers; all predictions are combined."""

    def __post_init__(self) -> None:
        super().__post_init__()
        outside = [t for t in self.teachers if not normpath(t).startswith("data/raw/")]
        require(
            self,
            start=(self.start in ("pretrained", "teacher"), "pretrained or teacher"),
            vocabulary=(self.vocabulary in ("all", "used"), "all or used"),
            dropout=(self.dropout is None or 0 <= self.dropout < 1, "in [0, 1), or null"),
            teachers=(not outside, "folders under data/raw/, which DVC watches"),
        )


@dataclass
class Export:
    """Section `export`: the files that distill hands on for ONNX Runtime."""

    prune: float
    """Share of the weights of the student's linear and convolutional layers that become 0, in [0, 1); it trains on."""
    prune_epochs: int
    """Passes of the training after that."""
    int8: bool
    """Quantise, too: dynamically for transformers, with calibration rows for convolutions."""
    calibration: int
    """Rows of train that ranges of activations are measured on."""
    most_lost: float
    """Fail where an exported file loses more of the primary metric on test than this, in [0, 1]."""

    def __post_init__(self) -> None:
        require(
            self,
            prune=(0 <= self.prune < 1, "in [0, 1)"),
            prune_epochs=(self.prune_epochs > 0, "1 or more"),
            calibration=(self.calibration > 0, "1 or more"),
            most_lost=(0 <= self.most_lost <= 1, "in [0, 1]"),
        )


@dataclass
class Evaluate:
    """Section `evaluate`."""

    resamples: int
    """Bootstrap resamples behind each interval."""
    confidence: float
    """Coverage of the intervals, in (0, 1)."""
    bins: int
    """Bins of the calibration error."""

    def __post_init__(self) -> None:
        checks = {k: (getattr(self, k) > 0, "above 0") for k in ("resamples", "bins")}
        checks["confidence"] = (0 < self.confidence < 1, "in (0, 1)")
        require(self, **checks)


@dataclass
class Trainer:
    """A file of conf/trainer/: the hardware. It changes the last bits of a result, and what is drawn in a step."""

    accelerator: str
    """`cpu`, `gpu`, or `auto`."""
    devices: Any
    """How many on each machine, -1: all; or a list of their numbers."""
    num_nodes: int
    strategy: str
    """How they train together, as Lightning calls it."""
    precision: Any
    """As Lightning calls it, or `auto`: bfloat16 where the device has it."""
    threads: int
    """Of a process."""
    accumulate: int
    """Parts that a device takes its share of a batch in."""
    save_minutes: float
    """Between saved states of a training."""

    def __post_init__(self) -> None:
        numbers = self.devices if isinstance(self.devices, list) else [self.devices]
        require(
            self,
            devices=(all(isinstance(n, int) for n in numbers), "a whole number, or a list of such"),
            num_nodes=(self.num_nodes > 0, "1 or more"),
            precision=(str(self.precision) in PRECISIONS, f"one of: {', '.join(PRECISIONS)}"),
            threads=(self.threads > 0, "1 or more"),
            accumulate=(self.accumulate > 0, "1 or more"),
            save_minutes=(self.save_minutes >= 0, "0 or more"),
        )


PRECISIONS = ("auto", "32-true", "32", "bf16-mixed", "bf16", "16-mixed", "16", "bf16-true", "16-true", "64-true", "64")
SECTIONS: dict[str, type] = {
    "prepare": Prepare,
    "pretrain_load": Training,
    "fine_tune": FineTune,
    "distill": Distill,
    "export": Export,
    "evaluate": Evaluate,
}


def section(knobs: object) -> str:
    """The name of the section that `knobs` are of."""
    return next(name for name, kind in SECTIONS.items() if type(knobs) is kind)
