"""Any text model of transformers, from the hub, a Python package or a folder: all of it, a part, or untrained."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from decant.backbone.origin import Origin
from decant.backbone.pretrained import from_pretrained, load_network
from decant.core.errors import UserError, require
from decant.dataset.modality.text_encoder import load_tokenizer
from decant.models import surgery


@dataclass(kw_only=True)
class HuggingFace(Origin):
    """A text model of any architecture that `AutoModel` knows."""

    sha256: str | None = None
    """Expected digest of model.safetensors."""
    layers: list[int] | None = None
    """Keep these encoder layers, counted from 0, and the embedding."""
    intermediate_size: int | None = None
    """Keep this many neurons of each feed-forward layer, those with the largest weights."""
    pooling: str = "first"
    """What the head reads: the `first` token, or the `mean` of all tokens, by an additional layer."""
    pretrained: bool = True
    """Whether the weights are used; false: only the architecture, trained from scratch."""
    config: dict[str, Any] = field(default_factory=dict)
    """Changes to the origin's config.json; with its weights, only changes that keep the weights valid."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, pooling=(self.pooling in ("first", "mean"), "first or mean"))
        if not self.pretrained and (self.layers or self.intermediate_size or self.sha256 or self.pooling == "mean"):
            raise UserError("pretrained: false goes with none of layers:, intermediate_size:, sha256:, pooling: mean")
        if self.package and self.pretrained and not self.sha256:
            raise UserError("package: needs sha256: of its model.safetensors")
        if "trust_remote_code" in self.config:
            raise UserError("config: has trust_remote_code, but no code of a model is run; leave it out")

    def has_weights(self) -> bool:
        """See `Backbone.has_weights`."""
        return self.pretrained

    def write(self, folder: Path) -> dict[str, Any]:
        """See `Backbone.write`."""
        weights = ["model.safetensors"] if self.pretrained else []
        source = self.locate(["*.json", "*.txt", "*.model", *weights])
        self.processor(source).save_pretrained(folder)
        config, unknown = from_pretrained(AutoConfig, source, return_unused_kwargs=True, **self.config)
        check_config(config, unknown)
        config.name_or_path = ""  # otherwise an absolute path; equal work must have equal bytes
        if not self.pretrained:
            config.save_pretrained(folder)
            return {"origin": f"{self.origin()}, configuration alone"}
        torch.manual_seed(0)  # for a pooler that the file lacks
        digest = self.verified_digest(source, self.sha256)
        network = load_network(source, config)
        self._reduce(network)
        network.save_pretrained(folder)
        return {
            "origin": self.origin(),
            "sha256": digest,
            "layers": self.layers,
            "intermediate_size": self.intermediate_size,
            "pooling": self.pooling,
            "config": self.config,
        }

    def _reduce(self, network: PreTrainedModel) -> None:
        if self.layers is not None:
            surgery.keep_layers(network, self.layers)
        if self.pooling == "mean":
            surgery.append_mean_pooling_layer(network)
        if self.intermediate_size is not None:
            surgery.narrow_feed_forward(network, self.intermediate_size)

    def processor(self, source: Path) -> Any:
        """The tokenizer."""
        return load_tokenizer(source)


def check_config(config: PretrainedConfig, unknown: dict[str, object]) -> None:
    """Refuse changes of a config.json that are `unknown` to its architecture.

    Raises:
        UserError: names the keys that there are.
    """
    if unknown:
        raise UserError(
            f"config: has {', '.join(map(repr, unknown))}, which {config.model_type} does not know; "
            f"its keys: {', '.join(sorted(k for k in config.to_dict() if not k.startswith('_')))}"
        )
