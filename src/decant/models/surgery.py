"""Changes to a loaded encoder that leave it an ordinary one: fewer layers, narrower ones, or one that averages."""

import torch
from torch import nn
from transformers import PreTrainedModel

from decant.core.errors import UserError

GAIN = 4.0
"""How much louder the average is than the state it is added to, before the normalisation."""


def stack(model: PreTrainedModel) -> tuple[nn.Module, str]:
    """The module that holds the encoder's layers, and the name of the list there.

    Raises:
        UserError: a model without a plain stack of layers.
    """
    depth = model.config.num_hidden_layers
    found = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == depth
    ]
    if len(found) != 1:
        raise UserError(f"{type(model).__name__} has {len(found)} stacks of {depth} layers, expected one")
    return found[0]


def cut(model: PreTrainedModel, layers: list[int]) -> None:
    """Keep `layers` of the encoder, counted from 0, in the given order, in place.

    Raises:
        UserError: a layer that is not there.
    """
    parent, name = stack(model)
    kept = getattr(parent, name)
    if not layers or any(not 0 <= i < len(kept) for i in layers):
        raise UserError(f"layers is {layers}, expected numbers from 0 to {len(kept) - 1}")
    setattr(parent, name, nn.ModuleList([kept[i] for i in layers]))
    model.config.num_hidden_layers = len(layers)


@torch.no_grad()
def narrow(model: PreTrainedModel, size: int) -> None:
    """Keep `size` neurons between the two halves of each feed-forward layer, in place: those with the largest weights.

    A neuron's weight is the product of the norms of what goes in and what comes out, the most it can change.

    Raises:
        UserError: layers without the two halves, or with fewer neurons.
    """
    name = next((n for n in ("intermediate_size", "hidden_dim") if hasattr(model.config, n)), "intermediate_size")
    wide = getattr(model.config, name, None)
    parent, layers = stack(model)
    for layer in getattr(parent, layers):
        linears = [m for m in layer.modules() if isinstance(m, nn.Linear)]
        into, out = [m for m in linears if m.out_features == wide], [m for m in linears if m.in_features == wide]
        if len(into) != 1 or len(out) != 1 or not 0 < size <= into[0].out_features:
            raise UserError(
                f"intermediate_size is {size}, but a layer of {type(model).__name__} has {len(into)} linear layers to "
                f"{wide} neurons and {len(out)} from them; expected one of each, and a number of at most {wide}"
            )
        norms = into[0].weight.norm(dim=1) * out[0].weight.norm(dim=0)
        kept = norms.topk(size).indices.sort().values
        into[0].weight, into[0].bias = (nn.Parameter(p[kept].clone()) for p in (into[0].weight, into[0].bias))
        out[0].weight = nn.Parameter(out[0].weight[:, kept].clone())
        into[0].out_features = out[0].in_features = size
    setattr(model.config, name, size)


@torch.no_grad()
def average(model: PreTrainedModel) -> None:
    """Append a layer that adds the average over all tokens to each, in place.

    Sentence encoders are trained to be averaged, but BERT's head reads the first token, whose state then
    says little. In the new layer all queries are 0, so attention is uniform over the tokens that are not
    padding; values and outputs pass the states on, and the feed-forward half adds nothing. The result is
    an ordinary BERT, one layer deeper, whose first token carries the average; all of it can be trained.

    Raises:
        UserError: a model that is not of BERT's family.
    """
    if model.config.model_type != "bert":
        raise UserError(f"pooling: mean is for BERT's family, found {model.config.model_type!r}; leave it out")
    parent, name = stack(model)
    model.config.num_hidden_layers += 1
    layer = type(getattr(parent, name)[0])(model.config)
    inner, out, feed = layer.attention.self, layer.attention.output, layer.output
    for zero in (inner.query.weight, feed.dense.weight):
        zero.zero_()  # keys stay random: with both at 0 neither would ever learn
    for linear in (inner.query, inner.key, inner.value, out.dense, layer.intermediate.dense, feed.dense):
        linear.bias.zero_()
    generator = torch.Generator().manual_seed(0)
    for random in (inner.key.weight, layer.intermediate.dense.weight):
        random.normal_(0.0, model.config.initializer_range, generator=generator)
    inner.value.weight.copy_(torch.eye(model.config.hidden_size))
    out.dense.weight.copy_(GAIN * torch.eye(model.config.hidden_size))
    getattr(parent, name).append(layer)
    if model.pooler is not None:
        # the encoder was trained without it
        model.pooler.dense.weight.copy_(torch.eye(model.config.hidden_size))
        model.pooler.dense.bias.zero_()


def drop_average(model: PreTrainedModel) -> None:
    """Take off the layer that `average` appended, in place; nothing, where there is none or it has been trained."""
    if model.config.model_type != "bert":
        return
    parent, name = stack(model)
    last = getattr(parent, name)[-1].attention
    queries, values, out = last.self.query.weight, last.self.value.weight, last.output.dense.weight
    eye = torch.eye(model.config.hidden_size)
    if not queries.any() and torch.equal(values, eye) and torch.equal(out, GAIN * eye):
        cut(model, list(range(model.config.num_hidden_layers - 1)))
