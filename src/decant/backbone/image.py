"""Any transformers image model: from the hub, a folder or an architecture's name; with weights or from scratch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, CLIPImageProcessor

from decant import UserError
from decant.backbone.huggingface import HuggingFace

BILINEAR = 2


@dataclass(kw_only=True)
class Image(HuggingFace):
    """An image model of any architecture that `AutoModelForImageClassification` knows."""

    architecture: str | None = None
    """In place of hub, package and path: a model_type of transformers (`resnet`), from scratch."""
    resolution: int | None = None
    """Pixels of a side that the network sees; default: what the origin's image processor says."""
    mean: float = 0.5
    """Of the pixels, where there is no origin to say it."""
    std: float = 0.5

    def __post_init__(self) -> None:
        if self.architecture is None:
            super().__post_init__()
            return
        if self.hub or self.package or self.path or self.sha256 or self.pretrained:
            raise UserError("architecture: means no origin and no weights; it needs pretrained: false, and config:")
        if not self.resolution:
            raise UserError("architecture: needs resolution:, the pixels of a side that the network sees")

    def write(self, folder: Path) -> dict[str, Any]:
        """See `Backbone.write`."""
        if self.architecture is None:
            return super().write(folder)
        known = AutoConfig.for_model(self.architecture)
        self.changed(known, {k: v for k, v in self.config.items() if not hasattr(known, k)})
        AutoConfig.for_model(self.architecture, **self.config).save_pretrained(folder)
        self.processor(None).save_pretrained(folder)
        return {"origin": f"architecture {self.architecture}"}

    def processor(self, source: Path | None) -> Any:
        """Short side to the resolution, the square in the middle, normalised: one kind for every architecture.

        `prepare` cuts squares in the same way, so a served model sees what it was trained on.
        """
        if source is None:
            mean, std, side = [self.mean] * 3, [self.std] * 3, int(self.resolution or 0)
        else:
            given = AutoImageProcessor.from_pretrained(source)
            mean, std, side = given.image_mean, given.image_std, self.resolution or sides(given)
        return CLIPImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            resample=BILINEAR,
            image_mean=mean,
            image_std=std,
        )


def sides(processor: Any) -> int:
    """The pixels of a side that a processor hands to its network."""
    sizes = [processor.crop_size if processor.do_center_crop else None, processor.size]
    return next(int(s[k]) for s in sizes if s for k in ("height", "shortest_edge") if s.get(k))
