"""The blocks of a network from its input to its head: the groups of parameters that freeze and learn together."""

from torch import nn
from transformers import PreTrainedModel

from decant.core.errors import UserError


def blocks(network: PreTrainedModel) -> list[list[nn.Parameter]]:
    """Parameters of each block, the head last. A network without a separate backbone is one block.

    Relies on modules being registered in the order in which the input passes them; each layer of a list of layers is a
    block of its own.
    """
    # peft's wrapper names the network it wraps `model`, as some networks name their backbone
    network = network if isinstance(network, PreTrainedModel) else network.model
    parameters_of: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        parameters_of.setdefault(block_of(name.split("."), network.base_model_prefix), []).append(parameter)
    head = parameters_of.pop("", [])
    if parameters_of and head:
        return [*parameters_of.values(), head]
    return [list(network.parameters())]  # timm's networks have their head inside the backbone


def require_backbone(network: PreTrainedModel) -> PreTrainedModel:
    """`network`, if its backbone is separate from its head.

    Raises:
        UserError: the network is a single block (as `LSTMForSequenceClassification` is), so that no part of it can be
            frozen, cached or trained more slowly than the rest.
    """
    if len(blocks(network)) < 2:
        raise UserError(
            f"{type(network).__name__} has no backbone apart from its head, which this adaptation needs; "
            "choose adapt full, or another use.teacher"
        )
    return network


def block_of(path: list[str], backbone: str) -> str:
    """The block of a parameter at `path`; "" for the head. `backbone`: the name of the backbone in the network."""
    if backbone not in path[:-1]:
        return ""
    inner = path[path.index(backbone) + 1 :]
    layer_number = next((i for i, part in enumerate(inner) if part.isdigit()), 0)
    return ".".join(inner[: layer_number + 1])
