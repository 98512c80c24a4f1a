"""Magnitude pruning: the smallest weights become 0 and stay so while the others learn on (Han et al. 2015).

"Learning both Weights and Connections for Efficient Neural Networks", arXiv:1506.02626.
"""

from typing import Any

import torch
from torch import nn

from decant.distillation.distiller import Distiller


class Pruned(Distiller):
    """Trains on what is left of a network: `share` of the weights of its linear and convolutional layers are 0."""

    def __init__(self, *args: Any, share: float, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.masks = masks(self.network, share)
        self.apply_masks()

    @torch.no_grad()
    def apply_masks(self) -> None:
        """Set what is pruned to 0."""
        for name, weight in self.network.named_parameters():
            if name in self.masks:
                weight.mul_(self.masks[name].to(weight.device))

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        """Undo what a step did to pruned weights, before they are averaged or scored."""
        super().optimizer_step(*args, **options)
        self.apply_masks()


@torch.no_grad()
def masks(network: nn.Module, share: float) -> dict[str, torch.Tensor]:
    """Where the weights of linear and convolutional layers are kept: the largest of all layers together."""
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d)
    weights = {f"{n}.weight": m.weight for n, m in network.named_modules() if isinstance(m, layers)}
    sizes = torch.cat([w.abs().flatten() for w in weights.values()])
    count = int(share * len(sizes))
    bound = sizes.kthvalue(count).values if count else sizes.new_tensor(-1.0)
    return {name: weight.abs() > bound for name, weight in weights.items()}
