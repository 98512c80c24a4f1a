"""Cached features: what a frozen backbone hands to its head, computed once for all rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Batches, Row
from decant.models.blocks import require_backbone


class Cached(nn.Module):
    """Stands in for the backbone: takes features and hands them on."""

    def __init__(self, field: str, name: str, output: type[ModelOutput]) -> None:
        super().__init__()
        self.field, self.name, self.output = field, name, output

    def forward(self, *args: torch.Tensor, **inputs: Any) -> ModelOutput:
        """What a head reads of a backbone's output; the rest is there, and empty."""
        features = args[0] if args else inputs[self.name]
        if self.field == "pooler_output":  # heads find it by its place, the second
            return self.output(last_hidden_state=features.new_zeros(len(features), 1, 1), pooler_output=features)
        return self.output(last_hidden_state=features)


class Features(Batches):
    """Rows that hold features (D, ...), under the name of the network's input."""

    def __init__(self, name: str) -> None:
        self.name = name

    def length(self, item: Any) -> int:
        """All cost the same."""
        return 1

    def stack(self, items: Sequence[Any]) -> Batch:
        """(B, D, ...)."""
        return {"features": torch.stack(list(items))}

    def inputs(self, batch: Batch) -> Batch:
        """The network's input is what `Cached` takes."""
        return {self.name: batch["features"]}


@contextmanager
def cached(
    network: PreTrainedModel, encoder: Batches, rows: dict[str, list[Row]]
) -> Iterator[tuple[Features, dict[str, list[Row]]]]:
    """An encoder and rows for training the head of `network`, whose backbone is put aside for as long.

    The backbone runs in evaluation mode: no dropout, and batch normalisation with the statistics it has.
    """
    prefix = require_backbone(network).base_model_prefix
    body = getattr(network, prefix)
    was = network.training
    network.eval()
    stand_in, keep = read_by_head(network, encoder, rows["train"][:2])
    features = {split: featured(body, encoder, part, stand_in.field, keep) for split, part in rows.items()}
    setattr(network, prefix, stand_in)
    try:
        yield Features(network.main_input_name), features
    finally:
        setattr(network, prefix, body)
        network.train(was)


@torch.no_grad()
def featured(body: nn.Module, encoder: Batches, rows: list[Row], field: str, keep: int | None) -> list[Row]:
    """`rows` in their order, with features in place of inputs; those of like lengths share a batch."""

    def call(inputs: Batch) -> torch.Tensor:
        features: torch.Tensor = getattr(body(**inputs), field)
        return features if keep is None else features[:, :keep].clone()  # a view would keep all tokens

    found = encoder.apply(rows, call, next(body.parameters()).device)
    return [Row(features, row.target, row.soft) for features, row in zip(found, rows, strict=True)]


@torch.no_grad()
def read_by_head(network: PreTrainedModel, encoder: Batches, rows: list[Row]) -> tuple[Cached, int | None]:
    """What stands in for the backbone, and how many first tokens of it the head reads (none: no tokens).

    Found by trying: heads differ between architectures, and what a head does not read need not be kept.
    """
    prefix = network.base_model_prefix
    body = getattr(network, prefix)
    inputs = encoder.inputs({k: v.to(network.device) for k, v in encoder.collate(rows).items()})
    whole: ModelOutput = body(**inputs)
    wanted = network(**inputs).logits
    for field, keep in (("pooler_output", None), ("last_hidden_state", 1)):
        if whole.get(field) is None:
            continue
        features = whole[field] if keep is None else whole[field][:, :keep]
        stand_in = Cached(field, network.main_input_name, type(whole))
        setattr(network, prefix, stand_in)
        try:
            logits = network(**{network.main_input_name: features}).logits
            if torch.allclose(logits, wanted, atol=1e-5):
                return stand_in, keep
        except (TypeError, RuntimeError, IndexError, AttributeError):
            pass  # this head reads something else
        finally:
            setattr(network, prefix, body)
    raise UserError(
        f"the head of {type(network).__name__} reads more than a pooled output or the first token; "
        "features of whole sequences are not kept: choose adapt full"
    )
