"""An adaptation: which weights of a pretrained network are trained on the target task, when, and how fast."""

from dataclasses import dataclass

from transformers import PreTrainedModel

from decant.core.errors import require
from decant.models.directory import Head


@dataclass(frozen=True)
class Probe:
    """Training of the head alone, on features that the frozen backbone computes once."""

    epochs: int
    """Passes over the features; each costs milliseconds."""
    lr: float
    batch_size: int

    def __post_init__(self) -> None:
        require(self, **{k: (getattr(self, k) > 0, "a number above 0") for k in ("epochs", "lr", "batch_size")})


def known_mode(batch_norm: str) -> tuple[bool, str]:
    """Whether it is a value of `Adapt.batch_norm`, and what is; for `require`."""
    return batch_norm in ("update", "frozen"), "update or frozen"


class Adapt:
    """One way to adapt. A block is a layer of the backbone, counted from the input; the head is the last block."""

    probe: Probe | None = None
    """The head's training before anything else; none: there is no such phase."""
    transfers: bool = True
    """Whether it builds on pretrained weights; a network from scratch is then refused."""
    tunes: bool = True
    """Whether the network is trained as a whole (after the probe)."""
    head: Head = Head()
    """The shape of the head; default: the head that transformers gives the architecture."""
    batch_norm: str = "update"
    """What training does to the statistics of batch normalisation: `update`; or `frozen`, which leaves those alone that
    were pretrained. Frozen blocks keep theirs."""

    def wrap(self, network: PreTrainedModel) -> PreTrainedModel:
        """The network to train; what is never trained has `requires_grad` False from here on."""
        return network

    def rate(self, block: int, blocks: int, progress: float) -> float:
        """Learning rate of a block relative to the schedule's, at `progress` of training in [0, 1]; 0: frozen.

        A function of the position alone, so that a resumed run freezes what an uninterrupted one does.
        """
        return 1.0

    def unwrap(self, network: PreTrainedModel) -> PreTrainedModel:
        """The ordinary network again, after training."""
        return network
