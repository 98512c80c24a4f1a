"""Low-rank adaptation (Hu et al. 2021, "LoRA", arXiv:2106.09685): W + alpha / rank B A, of which only A and B learn.

The head is trained in full. Afterwards B A is added to W: what is saved is an ordinary network.
"""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from decant.core.errors import UserError, require
from decant.models.blocks import blocks, require_backbone
from decant.training.adaptation import Adapt

EVERY = "all-linear"


class Lora(Adapt):
    """Adds matrices of `rank` to the linear layers of the backbone that `targets` names; the rest of it is frozen.

    `targets`: `all-linear`, or the last parts of modules' names ([query, value]). Convolutions are not taken: depthwise
    ones cannot be merged, and some networks (MobileNet) read attributes that peft's convolution lacks.
    """

    batch_norm = "frozen"

    def __init__(self, rank: int, alpha: float, dropout: float, targets: str | list[str] = EVERY) -> None:
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, targets
        require(
            self,
            rank=(rank >= 1, "1 or more"),
            alpha=(alpha > 0, "above 0"),
            dropout=(0 <= dropout < 1, "in [0, 1)"),
            targets=(targets == EVERY or (isinstance(targets, list) and targets != []), f"{EVERY} or a list"),
        )

    def wrap(self, network: PreTrainedModel) -> PreTrainedModel:
        """`network` in peft's wrapper, changed in place; before the first step it answers as without."""
        from peft import LoraConfig, LoraModel  # half a second, and no other adaptation needs it

        chosen = self.chosen(require_backbone(network))
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=chosen)
        wrapped = LoraModel(network, config, "default")
        for parameter in blocks(wrapped)[-1]:
            parameter.requires_grad_(True)
        return wrapped

    def chosen(self, network: PreTrainedModel) -> list[str]:
        """Names of the modules that get matrices.

        Raises:
            UserError: a backbone without linear layers, or a target that names none of them.
        """
        found = linear(network)
        if not found:
            raise UserError(
                f"adapt lora changes linear layers, and the backbone of {type(network).__name__} has none; "
                "choose adapt full, gradual or head"
            )
        if self.targets == EVERY:
            return found
        named = {t: [n for n in found if f".{n}".endswith(f".{t}")] for t in self.targets}
        if missing := [t for t, names in named.items() if not names]:
            known = sorted({name.rpartition(".")[2] for name in found})
            raise UserError(
                f"targets names {', '.join(missing)}, but the backbone of {type(network).__name__} has no linear layer "
                f"of that name; it has: {', '.join(known)}; or choose {EVERY}"
            )
        return sorted({name for names in named.values() for name in names})

    def unwrap(self, network: Any) -> PreTrainedModel:
        """The network that came in, with B A added to its weights."""
        return network.merge_and_unload().requires_grad_(True)


def linear(network: PreTrainedModel) -> list[str]:
    """Names of the linear layers of the backbone."""
    body = f"{network.base_model_prefix}."
    return [n for n, m in network.named_modules() if n.startswith(body) and isinstance(m, nn.Linear)]
