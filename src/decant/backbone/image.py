"""Any image model of transformers, from the hub, a folder or the name of an architecture; pretrained or not."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, CLIPImageProcessorPil
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from decant.backbone import Backbone
from decant.backbone.huggingface import HuggingFace, check_config
from decant.backbone.pretrained import from_pretrained
from decant.core.errors import UserError, suggestion
from decant.core.files import read_json

BILINEAR = 2


@dataclass(kw_only=True)
class Image(HuggingFace):
    """An image model of any architecture that `AutoModelForImageClassification` knows; timm's too, if installed."""

    modality = "image"
    architecture: str | None = None
    """Instead of hub, package and path: a model_type of transformers (`resnet`), from scratch."""
    resolution: int | None = None
    """Side in pixels of the images that the network reads; default: what the origin's image processor says."""
    mean: float = 0.5
    """Mean of the pixels, if there is no origin that says it."""
    std: float = 0.5

    def __post_init__(self) -> None:
        if self.architecture is None:
            super().__post_init__()
            return
        Backbone.__post_init__(self)  # not HuggingFace's: there is no origin to check
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
            if timm_settings(self.locate(["config.json"])):
                require_timm(self.origin())
            return super().write(folder)
        default = AutoConfig.for_model(self.architecture)
        check_config(default, {k: v for k, v in self.config.items() if not hasattr(default, k)})
        AutoConfig.for_model(self.architecture, **self.config).save_pretrained(folder)
        self.processor(None).save_pretrained(folder)
        return {"origin": f"architecture {self.architecture}"}

    def processor(self, source: Path | None) -> Any:
        """Resizes the shorter side to the resolution, crops the central square, and normalises it.

        Every architecture gets this kind of processor, because `prepare` crops squares in the same way. A served model
        crops to the size of the stored squares first, so that it reads what it was trained on.
        """
        if source is None:
            mean, std, side = [self.mean] * 3, [self.std] * 3, int(self.resolution or 0)
        elif settings := timm_settings(source):
            mean, std, side = settings["mean"], settings["std"], self.resolution or settings["input_size"][-1]
        else:
            processor = from_pretrained(AutoImageProcessor, source)
            mean, std, side = processor.image_mean, processor.image_std, self.resolution or input_side(processor)
        return CLIPImageProcessorPil(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            resample=BILINEAR,
            image_mean=mean,
            image_std=std,
        )


def input_side(processor: Any) -> int:
    """The side in pixels of the images that a processor returns."""
    sizes = [processor.crop_size if processor.do_center_crop else None, processor.size]
    return next(int(s[k]) for s in sizes if s for k in ("height", "shortest_edge") if s.get(k))


def timm_settings(source: Path) -> dict[str, Any]:
    """What timm says about the inputs of a network in its format; empty for a network of transformers."""
    return dict(read_json(source / "config.json").get("pretrained_cfg") or {})


def require_timm(origin: str) -> None:
    """Refuse a network of timm if timm cannot be imported.

    Raises:
        UserError: timm or torchvision is missing, or torchvision was built for another torch.
    """
    try:
        import_module("timm")
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision was built for another torch
        raise UserError(
            f"{origin} is a network of timm, which cannot be imported ({error}); install timm with "
            f"pip install --no-deps timm, beside a torchvision that was built for torch {torch.__version__}: the one "
            "that pip chooses may be built for another torch, and then breaks transformers"
        ) from error
