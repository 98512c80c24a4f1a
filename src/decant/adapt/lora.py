"""Low-rank adaptation (Hu et al. 2021, "LoRA", arXiv:2106.09685): W + alpha / rank B A, where only A and B are trained.

The head is trained in full. After training, B A is added to W, so that an ordinary network is saved.
"""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from decant.core.errors import UserError, require
from decant.models.blocks import blocks, require_backbone
from decant.training.adaptation import Adapt

ALL_LINEAR = "all-linear"


class Lora(Adapt):
    """Adds matrices of `rank` to linear layers of the backbone; its other weights are frozen.

    `targets`: `all-linear`, or the last parts of modules' names ([query, value]). Convolutions are not supported:
    depthwise ones cannot be merged, and some networks (MobileNet) read attributes that peft's convolution lacks.
    """

    batch_norm = "frozen"

    def __init__(self, rank: int, alpha: float, dropout: float, targets: str | list[str] = ALL_LINEAR) -> None:
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, targets
        is_list = isinstance(targets, list) and targets != []
        require(
            self,
            rank=(rank >= 1, "1 or more"),
            alpha=(alpha > 0, "above 0"),
            dropout=(0 <= dropout < 1, "in [0, 1)"),
            targets=(targets == ALL_LINEAR or is_list, f"{ALL_LINEAR} or a list"),
        )

    def wrap(self, network: PreTrainedModel) -> PreTrainedModel:
        """`network` in peft's wrapper, changed in place; before the first step it computes the same as without."""
        from peft import LoraConfig, LoraModel  # takes half a second, and no other adaptation needs it

        modules = self.target_modules(require_backbone(network))
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=modules)
        wrapped = LoraModel(network, config, "default")
        for parameter in blocks(wrapped)[-1]:
            parameter.requires_grad_(True)
        return wrapped

    def target_modules(self, network: PreTrainedModel) -> list[str]:
        """Names of the modules that get matrices.

        Raises:
            UserError: the backbone has no linear layers, or none that a target names.
        """
        available = linear_layers(network)
        if not available:
            raise UserError(
                f"adapt lora changes linear layers, and the backbone of {type(network).__name__} has none; "
                "choose adapt full, gradual or head"
            )
        if self.targets == ALL_LINEAR:
            return available
        names_of = {t: [n for n in available if f".{n}".endswith(f".{t}")] for t in self.targets}
        if unknown := [t for t, names in names_of.items() if not names]:
            known = sorted({name.rpartition(".")[2] for name in available})
            raise UserError(
                f"targets names {', '.join(unknown)}, but the backbone of {type(network).__name__} has no linear layer "
                f"of that name; it has: {', '.join(known)}; or choose {ALL_LINEAR}"
            )
        return sorted({name for names in names_of.values() for name in names})

    def unwrap(self, network: Any) -> PreTrainedModel:
        """The network that was wrapped, with B A added to its weights."""
        return network.merge_and_unload().requires_grad_(True)


def linear_layers(network: PreTrainedModel) -> list[str]:
    """Names of the linear layers of the backbone."""
    prefix = f"{network.base_model_prefix}."
    return [n for n, m in network.named_modules() if n.startswith(prefix) and isinstance(m, nn.Linear)]
