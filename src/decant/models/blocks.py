"""The blocks of a network, from the input to the head: what freezes and learns together."""

from torch import nn
from transformers import PreTrainedModel

from decant.core.errors import UserError


def blocks(network: PreTrainedModel) -> list[list[nn.Parameter]]:
    """Parameters of each block; the last is the head. A network without a backbone of its own is one block.

    Modules are registered in the order in which the input passes them; a list of layers is taken apart.
    """
    # peft's wrapper calls what it holds `model`, as some networks call their backbone
    network = network if isinstance(network, PreTrainedModel) else network.model
    body = network.base_model_prefix
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        found.setdefault(block_of(name.split("."), body), []).append(parameter)
    head = found.pop("", [])
    if found and head:
        return [*found.values(), head]
    return [list(network.parameters())]  # timm's hold the head within


def layered(network: PreTrainedModel) -> PreTrainedModel:
    """`network`, if it has a backbone apart from its head.

    Raises:
        UserError: it is one block (an LSTM of ours), so nothing can be frozen, cached or slowed down apart.
    """
    if len(blocks(network)) < 2:
        raise UserError(
            f"{type(network).__name__} has no backbone apart from its head, which this adaptation needs; "
            "choose adapt full, or another use.teacher"
        )
    return network


def block_of(path: list[str], body: str) -> str:
    """The block that a parameter at `path` belongs to; empty: the head."""
    if body not in path[:-1]:
        return ""
    inner = path[path.index(body) + 1 :]
    number = next((i for i, word in enumerate(inner) if word.isdigit()), 0)
    return ".".join(inner[: number + 1])
