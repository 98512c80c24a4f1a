"""Any transformers text model: from the hub, a Python package or a folder; whole, cut, or without weights."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from decant.backbone.origin import AGAIN, Origin, loaded
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
    """Keep so many neurons of each feed-forward layer, those with the largest weights."""
    pooling: str = "first"
    """What the head reads: the `first` token, or the `mean` of all, by a layer that averages."""
    pretrained: bool = True
    """Whether the weights are taken; false: the architecture alone, from scratch."""
    config: dict[str, Any] = field(default_factory=dict)
    """Changes to the architecture of the origin; with its weights, those that leave them valid."""

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
        patterns = ["*.json", "*.txt", "*.model"] + (["model.safetensors"] if self.pretrained else [])
        source = self.locate(patterns)
        self.processor(source).save_pretrained(folder)
        config = self.changed(*loaded(AutoConfig, source, return_unused_kwargs=True, **self.config))
        if not self.pretrained:
            config.save_pretrained(folder)
            return {"origin": f"{self.origin()}, configuration alone"}
        torch.manual_seed(0)  # a pooler that the file lacks is drawn here
        digest = self.checked(source, self.sha256)
        options = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
        network, info = loaded(AutoModel, source, config=config, ignore_mismatched_sizes=True, **options)
        if lacking := sorted(k for k in info["missing_keys"] if not k.startswith("pooler")):
            raise UserError(f"{source} lacks weights that its config.json asks for: {some(lacking)}; {AGAIN}")
        if other := sorted(str(mismatch[0]) for mismatch in info["mismatched_keys"]):
            raise UserError(f"{source} has weights of other shapes than its config.json says: {some(other)}; {AGAIN}")
        if self.layers is not None:
            surgery.keep_layers(network, self.layers)
        if self.pooling == "mean":
            surgery.append_mean_pooling_layer(network)
        if self.intermediate_size is not None:
            surgery.narrow_feed_forward(network, self.intermediate_size)
        network.save_pretrained(folder)
        return {
            "origin": self.origin(),
            "sha256": digest,
            "layers": self.layers,
            "intermediate_size": self.intermediate_size,
            "pooling": self.pooling,
            "config": self.config,
        }

    def processor(self, source: Path) -> Any:
        """What turns raw inputs into those of the network."""
        return load_tokenizer(source)

    def changed(self, config: Any, unknown: dict[str, Any]) -> Any:
        """`config`, unless a change that was asked for is `unknown` to it.

        Raises:
            UserError: it is.
        """
        if unknown:
            raise UserError(
                f"config: has {', '.join(map(repr, unknown))}, which {config.model_type} does not know; "
                f"its keys: {', '.join(sorted(k for k in config.to_dict() if not k.startswith('_')))}"
            )
        config.name_or_path = ""  # else an absolute path; equal work must have equal bytes
        return config


def some(names: list[str]) -> str:
    """The first three, and how many they are."""
    return ", ".join(names[:3]) + (f", ... ({len(names)} in all)" if len(names) > 3 else "")
