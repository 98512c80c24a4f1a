"""Magnitude pruning: the smallest weights become 0 and stay so while the others are trained further (Han et al. 2015).

"Learning both Weights and Connections for Efficient Neural Networks", arXiv:1506.02626.
"""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from decant.distillation.distiller import Distiller


class PrunedDistiller(Distiller):
    """Trains a network in which `share` of the weights of linear and convolutional layers are 0."""

    def __init__(self, *args: Any, share: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.masks = pruning_masks(self.network, share)
        self.apply_masks()

    @torch.no_grad()
    def apply_masks(self) -> None:
        """Set pruned weights to 0."""
        for name, weight in self.network.named_parameters():
            if name in self.masks:
                weight.mul_(self.masks[name].to(weight.device))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Undo what a step did to pruned weights, before they are averaged or scored."""
        super().optimizer_step(*args, **kwargs)
        self.apply_masks()


def pruning_masks(network: nn.Module, share: float) -> dict[str, torch.Tensor]:
    """1 for the weights of linear and convolutional layers that stay: the largest of all layers together.

    The masks come from `torch.nn.utils.prune`, on a copy: its reparametrisation would rename the weights.
    """
    pruned = copy.deepcopy(network)
    layers = {n: m for n, m in pruned.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)}
    weights = [(layer, "weight") for layer in layers.values()]
    prune.global_unstructured(weights, prune.L1Unstructured, amount=share)
    return {f"{name}.weight": layer.get_buffer("weight_mask") for name, layer in layers.items()}
