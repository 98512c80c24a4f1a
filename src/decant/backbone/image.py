"""Any transformers image model: from the hub, a folder or an architecture's name; with weights or from scratch."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, CLIPImageProcessorPil
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from decant.backbone import Backbone
from decant.backbone.huggingface import HuggingFace
from decant.backbone.origin import loaded
from decant.core.errors import UserError, suggestion
from decant.core.files import read_json

BILINEAR = 2


@dataclass(kw_only=True)
class Image(HuggingFace):
    """An image model of any architecture that `AutoModelForImageClassification` knows; timm's too, if installed."""

    modality = "image"
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
        Backbone.__post_init__(self)  # there is no origin to check
        if self.hub or self.package or self.path or self.sha256 or self.pretrained or self.layers:
            raise UserError("architecture: means no origin and no weights; it needs pretrained: false, and config:")
        if self.architecture not in (known := MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES):
            near = suggestion(self.architecture, list(known))
            raise UserError(f"transformers has no image classifier of the architecture {self.architecture!r}{near}")
        if not self.resolution:
            raise UserError("architecture: needs resolution:, the pixels of a side that the network sees")

    def write(self, folder: Path) -> dict[str, Any]:
        """See `Backbone.write`."""
        if self.architecture is None:
            if self.settings_of_timm(self.locate(["config.json"])):
                importable(self.origin())
            return super().write(folder)
        known = AutoConfig.for_model(self.architecture)
        self.changed(known, {k: v for k, v in self.config.items() if not hasattr(known, k)})
        AutoConfig.for_model(self.architecture, **self.config).save_pretrained(folder)
        self.processor(None).save_pretrained(folder)
        return {"origin": f"architecture {self.architecture}"}

    def processor(self, source: Path | None) -> Any:
        """Short side to the resolution, the square in the middle, normalised: one kind for every architecture.

        `prepare` cuts squares in the same way; a served model cuts them to that size first, so it sees what it was
        trained on.
        """
        if source is None:
            mean, std, side = [self.mean] * 3, [self.std] * 3, int(self.resolution or 0)
        elif given := self.settings_of_timm(source):
            mean, std, side = given["mean"], given["std"], self.resolution or given["input_size"][-1]
        else:
            known = loaded(AutoImageProcessor, source)
            mean, std, side = known.image_mean, known.image_std, self.resolution or sides(known)
        return CLIPImageProcessorPil(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            resample=BILINEAR,
            image_mean=mean,
            image_std=std,
        )

    def settings_of_timm(self, source: Path) -> dict[str, Any]:
        """What timm says of the inputs of a network in its format; empty: it is not timm's."""
        return dict(read_json(source / "config.json").get("pretrained_cfg") or {})


def importable(origin: str) -> None:
    """Nothing, where timm can be used.

    Raises:
        UserError: it, or the torchvision that it needs, is missing or does not go with this torch.
    """
    try:
        import_module("timm")
    except (ImportError, RuntimeError) as error:  # torchvision beside another torch than its own: RuntimeError
        raise UserError(
            f"{origin} is a network of timm, which cannot be imported ({error}); install timm and the torchvision that "
            f"was built for torch {torch.__version__}: pip install 'decant[timm]'"
        ) from error


def sides(processor: Any) -> int:
    """The pixels of a side that a processor hands to its network."""
    sizes = [processor.crop_size if processor.do_center_crop else None, processor.size]
    return next(int(s[k]) for s in sizes if s for k in ("height", "shortest_edge") if s.get(k))
