"""The interface of an adaptation: which weights of a pretrained network are trained, when, and how fast.

It is here and not in adapt/, so that training depends on no adaptation; conf/adapt/ chooses among the classes there.
"""

from dataclasses import dataclass

from transformers import PreTrainedModel

from decant.core.errors import require
from decant.models.directory import Head

BATCH_NORM_MODES = ("update", "frozen")


@dataclass(frozen=True)
class Probe:
    """Training of the head alone, on features that the frozen backbone computes once."""

    epochs: int
    """Passes over the features; each takes milliseconds."""
    lr: float
    batch_size: int

    def __post_init__(self) -> None:
        require(self, **{k: (getattr(self, k) > 0, "a number above 0") for k in ("epochs", "lr", "batch_size")})


def check_batch_norm(batch_norm: str) -> tuple[bool, str]:
    """Whether it is a value of `Adapt.batch_norm`, and which there are; for `require`."""
    return batch_norm in BATCH_NORM_MODES, "update or frozen"


class Adapt:
    """One way to adapt. A block is a layer of the backbone, counted from the input; the head is the last block."""

    probe: Probe | None = None
    """The training of the head before anything else; None: there is no such phase."""
    needs_pretrained: bool = True
    """Whether it builds on pretrained weights; a network from scratch is then refused."""
    trains_backbone: bool = True
    """Whether the whole network is trained (after the probe)."""
    head: Head = Head()
    """The shape of the head; default: the head that transformers gives the architecture."""
    batch_norm: str = "update"
    """The statistics of batch normalisation in training: `update`, or `frozen`, which keeps those that were pretrained.
    Frozen blocks always keep theirs."""

    def wrap(self, network: PreTrainedModel) -> PreTrainedModel:
        """The network to train; weights that are never trained have `requires_grad` False from here on."""
        return network

    def lr_multiplier(self, block: int, blocks: int, progress: float) -> float:
        """Learning rate of a block relative to the schedule's, at `progress` of training in [0, 1]; 0: frozen.

        A function of the position alone, so that a resumed training freezes what an uninterrupted one does.
        """
        return 1.0

    def unwrap(self, network: PreTrainedModel) -> PreTrainedModel:
        """The ordinary network again, after training."""
        return network
