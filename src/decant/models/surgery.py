"""Changes to a loaded encoder that keep it an ordinary one: fewer layers, narrower layers, a layer that pools."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from decant.core.errors import UserError

MEAN_GAIN = 4.0
"""Factor by which the mean is scaled before it is added to the first token's state and normalised with it."""


def layer_list(model: PreTrainedModel) -> tuple[nn.Module, str]:
    """The module that holds the list of the encoder's layers, and the name of that list.

    Raises:
        UserError: the model has no single list of layers.
    """
    depth = model.config.num_hidden_layers
    candidates = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == depth
    ]
    if len(candidates) != 1:
        raise UserError(f"{type(model).__name__} has {len(candidates)} lists of {depth} layers, expected one")
    return candidates[0]


def keep_layers(model: PreTrainedModel, numbers: list[int]) -> None:
    """Keep the layers `numbers` of the encoder, counted from 0, in the given order; changes `model` in place.

    Raises:
        UserError: a layer does not exist.
    """
    parent, name = layer_list(model)
    layers = getattr(parent, name)
    if not numbers or any(not 0 <= i < len(layers) for i in numbers):
        raise UserError(f"layers is {numbers}, expected numbers from 0 to {len(layers) - 1}")
    setattr(parent, name, nn.ModuleList([layers[i] for i in numbers]))
    model.config.num_hidden_layers = len(numbers)


@torch.no_grad()
def narrow_feed_forward(model: PreTrainedModel, size: int) -> None:
    """Keep the `size` most important neurons of each feed-forward layer; changes `model` in place.

    The importance of a neuron is the product of the norms of its input weights and its output weights: a bound on how
    much it can change the output.

    Raises:
        UserError: a layer without one linear layer into and one out of its neurons, or with fewer neurons.
    """
    config_key = next((k for k in ("intermediate_size", "hidden_dim") if hasattr(model.config, k)), "intermediate_size")
    width = getattr(model.config, config_key, None)
    parent, name = layer_list(model)
    for layer in getattr(parent, name):
        _narrow_layer(layer, width, size, type(model).__name__)
    setattr(model.config, config_key, size)


def _narrow_layer(layer: nn.Module, width: int | None, size: int, model_name: str) -> None:
    linears = [m for m in layer.modules() if isinstance(m, nn.Linear)]
    inputs, outputs = [m for m in linears if m.out_features == width], [m for m in linears if m.in_features == width]
    if len(inputs) != 1 or len(outputs) != 1 or not 0 < size <= inputs[0].out_features:
        raise UserError(
            f"intermediate_size is {size}, but a layer of {model_name} has {len(inputs)} linear layers to {width} "
            f"neurons and {len(outputs)} from them; expected one of each, and a number of at most {width}"
        )
    up, down = inputs[0], outputs[0]
    importance = up.weight.norm(dim=1) * down.weight.norm(dim=0)
    neurons = importance.topk(size).indices.sort().values
    up.weight, up.bias = (nn.Parameter(p[neurons].clone()) for p in (up.weight, up.bias))
    down.weight = nn.Parameter(down.weight[:, neurons].clone())
    up.out_features = down.in_features = size


@torch.no_grad()
def append_mean_pooling_layer(model: PreTrainedModel) -> None:
    """Append a layer that adds the mean over all tokens to each token's state; changes `model` in place.

    Sentence encoders are trained with mean pooling, but BERT's head reads the first token, whose state carries little
    information in them. In the new layer all queries are 0, so attention is uniform over the tokens that are not
    padding; values and outputs copy the states, and the feed-forward part adds nothing. The result is an ordinary
    BERT, one layer deeper, whose first token carries the mean; all of it can be trained.

    Raises:
        UserError: the model is not of BERT's family.
    """
    if model.config.model_type != "bert":
        raise UserError(f"pooling: mean is for BERT's family, found {model.config.model_type!r}; leave it out")
    parent, name = layer_list(model)
    model.config.num_hidden_layers += 1
    layer = type(getattr(parent, name)[0])(model.config)
    _initialise_mean_pooling(layer, model.config)
    getattr(parent, name).append(layer)
    if model.pooler is not None:
        # the encoder was trained without its pooler: make it the identity (before its tanh)
        model.pooler.dense.weight.copy_(torch.eye(model.config.hidden_size))
        model.pooler.dense.bias.zero_()


def _initialise_mean_pooling(layer: Any, config: Any) -> None:
    attention, output, feed_forward = layer.attention.self, layer.attention.output, layer.output
    for weight in (attention.query.weight, feed_forward.dense.weight):
        weight.zero_()  # the keys stay random: with queries and keys both at 0, neither would get a gradient
    up = layer.intermediate.dense
    for linear in (attention.query, attention.key, attention.value, output.dense, up, feed_forward.dense):
        linear.bias.zero_()
    generator = torch.Generator().manual_seed(0)
    for weight in (attention.key.weight, up.weight):
        weight.normal_(0.0, config.initializer_range, generator=generator)
    attention.value.weight.copy_(torch.eye(config.hidden_size))
    output.dense.weight.copy_(MEAN_GAIN * torch.eye(config.hidden_size))


def remove_mean_pooling_layer(model: PreTrainedModel) -> None:
    """Remove the layer of `append_mean_pooling_layer`, in place.

    A model without such a layer, or whose layer has been trained, stays as it is.
    """
    if model.config.model_type != "bert":
        return
    parent, name = layer_list(model)
    attention = getattr(parent, name)[-1].attention
    queries, values, output = attention.self.query.weight, attention.self.value.weight, attention.output.dense.weight
    identity = torch.eye(model.config.hidden_size)
    if not queries.any() and torch.equal(values, identity) and torch.equal(output, MEAN_GAIN * identity):
        keep_layers(model, list(range(model.config.num_hidden_layers - 1)))
