import torch
from torch import nn

from decant.distillation.weight_pruning import pruning_masks


def test_the_smallest_weights_of_all_layers_together_go() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 1), nn.Embedding(3, 2))
    network[0].weight.data = torch.tensor([[0.1, -0.2], [0.3, 4.0]])
    network[2].weight.data = torch.tensor([[-0.05, 5.0]])
    masks = pruning_masks(network, 0.5)
    assert {k: v.tolist() for k, v in masks.items()} == {
        "0.weight": [[0.0, 0.0], [1.0, 1.0]],
        "2.weight": [[0.0, 1.0]],
    }


def test_a_share_of_nothing_keeps_all() -> None:
    network = nn.Conv2d(3, 4, 3)
    network.weight.data[0] = 0
    assert all(mask.all() for mask in pruning_masks(network, 0.0).values())
