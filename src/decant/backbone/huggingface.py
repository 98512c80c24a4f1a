"""Any transformers text model: from the hub, a Python package or a folder; whole, cut, or without weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from decant import UserError, run
from decant.backbone import surgery
from decant.backbone.origin import Origin


@dataclass(kw_only=True)
class HuggingFace(Origin):
    """A text model of any architecture that `AutoModel` knows."""

    sha256: str | None = None
    """Expected digest of model.safetensors."""
    layers: list[int] | None = None
    """Keep these encoder layers, counted from 0, and the embedding."""
    pooling: str = "first"
    """What the head reads: the `first` token, or the `mean` of all, by a layer that averages."""
    config: dict[str, Any] | None = None
    """Take no weights: the architecture of the origin with these changes ({}: none), from scratch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooling not in ("first", "mean"):
            raise UserError(f"pooling is {self.pooling!r}, expected first or mean")
        if self.config is not None and (self.layers or self.sha256 or self.pooling == "mean"):
            raise UserError("config: means no weights; it goes with none of layers:, sha256:, pooling: mean")
        if self.package and self.config is None and not self.sha256:
            raise UserError("package: needs sha256: of its model.safetensors")

    def write(self, folder: Path) -> dict[str, Any]:
        """See `Backbone.write`."""
        patterns = ["*.json", "*.txt", "*.model"] + ([] if self.config is not None else ["model.safetensors"])
        source = self.locate(patterns)
        AutoTokenizer.from_pretrained(source).save_pretrained(folder)
        if self.config is not None:
            config, unknown = AutoConfig.from_pretrained(source, return_unused_kwargs=True, **self.config)
            if unknown:
                raise UserError(
                    f"config: has {', '.join(map(repr, unknown))}, which {config.model_type} does not know; "
                    f"its keys: {', '.join(sorted(k for k in config.to_dict() if not k.startswith('_')))}"
                )
            config.name_or_path = ""  # else an absolute path; equal work must have equal bytes
            config.save_pretrained(folder)
            return {"origin": f"{self.origin()}, configuration alone"}
        torch.manual_seed(0)  # a pooler that the file lacks is drawn here
        digest = self._checked(source / "model.safetensors")
        model, info = AutoModel.from_pretrained(
            source, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        if lacking := sorted(k for k in info["missing_keys"] if not k.startswith("pooler")):
            raise UserError(f"{self.origin()} lacks weights that its config.json asks for: {', '.join(lacking)}")
        if self.layers is not None:
            surgery.cut(model, self.layers)
        if self.pooling == "mean":
            surgery.average(model)
        model.save_pretrained(folder)
        return {"origin": self.origin(), "sha256": digest, "layers": self.layers}

    def _checked(self, file: Path) -> str:
        if not file.is_file():
            raise UserError(f"no {file.name} in {file.parent}; only safetensors are loaded, never a pickle")
        digest = run.sha256(file)
        if self.sha256 not in (None, digest):
            raise UserError(
                f"{file.name} of {self.origin()} has sha256 {digest}, expected {self.sha256}; it is not the file "
                "the yaml was written for: reinstall it, or put the new digest into conf/backbone/"
            )
        return digest
