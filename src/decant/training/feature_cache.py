"""Feature cache: the input of the head of a frozen backbone, computed once for all rows."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Batches, Row
from decant.models.blocks import require_backbone


class CachedBackbone(nn.Module):
    """Takes the place of a backbone while its head is trained: returns the features it is given as the output."""

    def __init__(self, input_name: str, output: type[ModelOutput], pooled: bool) -> None:
        super().__init__()
        self.input_name, self.output, self.pooled = input_name, output, pooled

    def forward(self, *args: torch.Tensor, **inputs: Any) -> ModelOutput:
        """The output of the backbone as far as the head reads it; everything else is empty."""
        features = args[0] if args else inputs[self.input_name]
        if self.pooled:  # heads read it by its position, the second
            return self.output(last_hidden_state=features.new_zeros(len(features), 1, 1), pooler_output=features)
        return self.output(last_hidden_state=features)


class FeatureBatches(Batches):
    """Batches of rows that hold features (H, ...), under the name of the network's input."""

    def __init__(self, input_name: str) -> None:
        self.input_name = input_name

    def length(self, item: object) -> int:
        """1: all rows take the same time."""
        return 1

    def stack(self, items: Sequence[Any]) -> Batch:
        """(B, H, ...)."""
        return {"features": torch.stack(list(items))}

    def inputs(self, batch: Batch) -> Batch:
        """The features as `CachedBackbone` takes them."""
        return {self.input_name: batch["features"]}


@contextmanager
def feature_cache(
    network: PreTrainedModel, encoder: Batches, rows: dict[str, list[Row]]
) -> Iterator[tuple[FeatureBatches, dict[str, list[Row]]]]:
    """Batches and rows of features, to train the head of `network`, whose backbone is set aside meanwhile.

    The backbone computes them in evaluation mode: no dropout, and batch normalisation with its running statistics.

    Raises:
        UserError: a head that reads more than a pooled output or the first token.
    """
    prefix = require_backbone(network).base_model_prefix
    backbone = getattr(network, prefix)
    training = network.training
    network.eval()
    output, pooled, logits = head_input(network, encoder, rows["train"][:2])
    features = {split: cached_rows(backbone, encoder, part, pooled) for split, part in rows.items()}
    setattr(network, prefix, CachedBackbone(network.main_input_name, type(output), pooled))
    try:
        check_head(network, select(output, pooled), logits)
        yield FeatureBatches(network.main_input_name), features
    finally:
        setattr(network, prefix, backbone)
        network.train(training)


@torch.no_grad()
def head_input(network: PreTrainedModel, encoder: Batches, rows: list[Row]) -> tuple[ModelOutput, bool, torch.Tensor]:
    """The output of the backbone on `rows`, whether the head reads its pooled output, and the logits (B, C).

    Forward hooks on the backbone and on the modules of the head record what one passes to the other.

    Raises:
        UserError: a head that reads neither the pooled output nor the first token.
    """
    backbone = getattr(network, network.base_model_prefix)
    inputs = encoder.inputs({k: v.to(network.device) for k, v in encoder.collate(rows).items()})
    outputs: list[ModelOutput] = []
    head_inputs: list[torch.Tensor] = []
    inside = set(backbone.modules()) | {network}
    with ExitStack() as hooks:
        handle = backbone.register_forward_hook(lambda module, args, output: outputs.append(output))
        hooks.callback(handle.remove)
        for module in (m for m in network.modules() if m not in inside):
            handle = module.register_forward_pre_hook(lambda module, args: head_inputs.extend(args[:1]))
            hooks.callback(handle.remove)
        logits = network(**inputs).logits
    for pooled in (True, False):
        features = select(outputs[0], pooled)
        if features is not None and any(same_values(features, tensor) for tensor in head_inputs):
            return outputs[0], pooled, logits
    raise UserError(unreadable_head(network))


def select(output: ModelOutput, pooled: bool) -> torch.Tensor | None:
    """The pooled output (B, H, ...), None if there is none; or the state of the first token (B, 1, H)."""
    if pooled:
        return output.get("pooler_output")
    # a slice would keep all tokens in memory
    return output["last_hidden_state"][:, :1].clone()


def same_values(features: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Whether two tensors hold the same values, whatever the axes of size 1."""
    return features.squeeze().shape == tensor.squeeze().shape and torch.equal(features.squeeze(), tensor.squeeze())


@torch.no_grad()
def check_head(network: PreTrainedModel, features: torch.Tensor | None, logits: torch.Tensor) -> None:
    """Make sure that the head gives the same logits from the features alone.

    Raises:
        UserError: it reads more than them.
    """
    try:
        same = torch.allclose(network(**{network.main_input_name: features}).logits, logits, atol=1e-5)
    except (TypeError, RuntimeError, IndexError, AttributeError):  # it reads an output that is empty now
        same = False
    if not same:
        raise UserError(unreadable_head(network))


def unreadable_head(network: PreTrainedModel) -> str:
    """The message for a head whose input cannot be cached."""
    return (
        f"the head of {type(network).__name__} reads more than a pooled output or the first token; "
        "features of whole sequences are not cached: choose adapt full"
    )


@torch.no_grad()
def cached_rows(backbone: nn.Module, encoder: Batches, rows: list[Row], pooled: bool) -> list[Row]:
    """`rows` in their order, with features in place of inputs; rows of similar length share a batch."""

    def call(inputs: Batch) -> torch.Tensor:
        features = select(backbone(**inputs), pooled)
        assert features is not None
        return features

    features = encoder.apply(rows, call, next(backbone.parameters()).device)
    return [Row(item, row.target, row.soft) for item, row in zip(features, rows, strict=True)]
