"""The sections of params.yaml and of conf/trainer/: what each value means, and which values it takes."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, lt=1)]
"""A share in [0, 1)."""
SplitShare = Annotated[float, Field(gt=0, le=0.5)]
Count = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Precision = Literal[
    "auto", "32-true", "32", "bf16-mixed", "bf16", "16-mixed", "16", "bf16-true", "16-true", "64-true", "64"
]


class Section(BaseModel):
    """Values under one key; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Prepare(Section):
    """Section `prepare`: how missing splits are made."""

    validation: SplitShare
    """Share of train that becomes validation where the source has none."""
    test: SplitShare
    """Share of train that becomes test where the source has none."""
    labels_per_class: Annotated[int, Field(ge=2)] | None
    """Keep this many labels per class, validation included; the other rows become unlabelled. null: keep all."""
    augmented_copies: Annotated[int, Field(ge=0)]
    """Augmented copies of each text of train and unlabelled, added to the unlabelled rows."""


class Training(Section):
    """Hyperparameters that every training has."""

    section: ClassVar[str]
    """The key of params.yaml that holds these values."""

    epochs: Count
    """Passes over the training rows."""
    lr: Rate
    """Peak learning rate of AdamW, multiplied by the `lr_scale` of the backbone."""
    batch_size: Count
    """Rows per optimizer step, over all devices together."""
    max_length: Count
    """Tokens kept of an input; longer inputs are truncated."""
    warmup: Share
    """Share of the steps in which the learning rate rises; afterwards it falls linearly to 0."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    clip: Annotated[float, Field(gt=0)]
    """Maximum norm of the gradient; larger gradients are scaled down to it."""
    label_smoothing: Share
    """Share of the target that is spread over all classes (Szegedy et al. 2016, arXiv:1512.00567)."""
    ema: Share
    """Decay of the exponential moving average of the weights; 0: no average (Polyak & Juditsky 1992)."""


class PretrainLoad(Training):
    """Section `pretrain_load`; it has an effect where `use.pretrain` is not none."""

    section = "pretrain_load"


class FineTune(Training):
    """Section `fine_tune`."""

    section = "fine_tune"

    control_epochs: Count
    """Passes of the control, the network from scratch: as many as give it its best chance."""
    folds: Count
    """1: one teacher. k: k teachers, each trained without one k-th of train; they teach together (cross-validation)."""
    seeds: Count
    """1: one teacher. k: k teachers, each trained on all of train with a seed of its own; they teach together."""
    logits_dtype: Literal["float32", "float16"]
    """How the soft targets (logits on train and unlabelled rows) are stored."""
    top_k_logits: Count | None
    """Store only the k largest soft targets of a row, and the mean probability of the rest. null: store all."""

    @model_validator(mode="after")
    def _folds_or_seeds(self) -> "FineTune":
        if self.folds > 1 and self.seeds > 1:
            raise ValueError(f"folds is {self.folds}, expected 1 where seeds is more than 1")
        return self


class Distill(Training):
    """Section `distill`."""

    section = "distill"

    control_epochs: Count
    """Passes of the control, the student without a teacher, over the labelled rows."""
    init_from: Literal["pretrained", "teacher"]
    """Initial weights of the student: its own `pretrained` ones, or the same layers of the fine-tuned `teacher`."""
    vocabulary: Literal["all", "used"]
    """`all` tokens of the student's tokenizer, or those `used` by train and unlabelled texts, and single characters."""
    dropout: Share | None
    """Dropout of the student when a teacher helps it. null, and always for the control: that of its architecture."""
    online_teacher: bool
    """Run the teacher beside the student, on the same augmented input (Beyer et al. 2022, arXiv:2106.05237)."""
    teachers: dict[str, str]
    """Further teachers, {folder: sha256 of its predictions.parquet}; all predictions are combined."""


class Export(Section):
    """Section `export`: the files that distill writes for ONNX Runtime."""

    prune: Share
    """Share of the weights of linear and convolutional layers that pruning sets to 0 before training continues."""
    prune_epochs: Count
    """Passes of the training after pruning."""
    int8: bool
    """Quantise as well: dynamically for transformers, with calibration rows for convolutions."""
    calibration: Count
    """Rows of train on which ranges of activations are measured."""
    max_metric_drop: Annotated[float, Field(ge=0, le=1)]
    """Fail where an exported file loses more of the primary metric on test than this."""


class Evaluate(Section):
    """Section `evaluate`."""

    resamples: Count
    """Bootstrap resamples behind each interval."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Coverage of the intervals."""
    bins: Count
    """Bins of the calibration error."""


class Trainer(Section):
    """A file of conf/trainer/: the hardware. It changes the last bits of a result, and what a step draws at random."""

    accelerator: str
    """`cpu`, `gpu` or `auto`."""
    devices: int | list[int]
    """How many on each machine, -1: all; or a list of their indices."""
    num_nodes: Count
    strategy: str
    """How devices train together, by Lightning's name."""
    precision: Annotated[Precision, BeforeValidator(str)]
    """By Lightning's name, or `auto`: bfloat16 where the device computes in it natively."""
    threads: Count
    """CPU threads of a process."""
    accumulate: Count
    """Parts in which a device processes its share of a batch."""
    save_minutes: Annotated[float, Field(ge=0)]
    """Minutes between two saved states of a training."""


SECTIONS: dict[str, type[Section]] = {
    "prepare": Prepare,
    "pretrain_load": PretrainLoad,
    "fine_tune": FineTune,
    "distill": Distill,
    "export": Export,
    "evaluate": Evaluate,
    "trainer": Trainer,
}
"""By key of the whole config."""
