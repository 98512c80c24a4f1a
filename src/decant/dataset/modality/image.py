"""Images: squares of pixels, decoded once by prepare; the linear baseline reads raw pixels."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import torch
import torch.nn.functional as F
from sklearn.base import TransformerMixin
from sklearn.preprocessing import FunctionTransformer
from transformers import AutoModelForImageClassification, CLIPImageProcessor, PreTrainedModel

from decant.core.errors import UserError
from decant.dataset.modality import Answer, Batch, Encoder, Modality

FLOOR_SIDE = 32
"""Pixels of a side that the linear baseline sees; more makes it slower and rarely better."""


class Image(Modality):
    """RGB squares of `size` pixels, stored as their raw bytes."""

    name = "image"
    linear_features = "raw pixels"

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
        """See `Modality.read`; files are decoded, turned upright, resized and cropped to the square in the middle."""
        from decant.dataset.modality.decode import decode_all  # for prepare alone

        pixels, bad = decode_all(frame["input"], frame["row_id"], self.size)
        return frame.assign(input=pd.Series(pixels, frame.index, dtype=object)), bad

    def keys(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """See `Modality.keys`; digests of the pixels."""
        return frame["input"].map(lambda pixels: hashlib.sha256(pixels).hexdigest() if pixels else "")

    def shown(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """See `Modality.shown`."""
        return frame["row_id"]

    def describe(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Mean and spread of the pixels, in [0, 1], over at most 1,000 images."""
        pixels = np.stack([self.array(p) for p in frame["input"].head(1000)]) / 255
        return {"pixels": {"mean": round(float(pixels.mean()), 4), "std": round(float(pixels.std()), 4)}}

    def array(self, pixels: bytes) -> np.ndarray:
        """(S, S, 3), uint8."""
        return np.frombuffer(pixels, np.uint8).reshape(self.size, self.size, 3)

    def raw(self, frame: pd.DataFrame) -> list[Any]:
        """Pillow images."""
        return [PIL.Image.fromarray(self.array(p)) for p in frame["input"]]

    def sent(self, frame: pd.DataFrame) -> list[Any]:
        """See `Modality.sent`; the bytes of PNG files."""
        files = [io.BytesIO() for _ in range(len(frame))]
        for image, file in zip(self.raw(frame), files, strict=True):
            image.save(file, "PNG")
        return [file.getvalue() for file in files]

    def features(self) -> TransformerMixin:
        """Grey values in [0, 1] of a picture of at most `FLOOR_SIDE` pixels a side."""
        return FunctionTransformer(grey)

    def auto(self) -> Any:
        """See `Modality.auto`."""
        return AutoModelForImageClassification

    def encoder(self, folder: Path, max_length: int | None = None) -> "ImageEncoder":
        """See `Modality.encoder`; `max_length` is for texts."""
        return ImageEncoder(folder, self)


class ImageEncoder(Encoder):
    """Pixels, resized and normalised on the device as the model directory's image processor says."""

    def __init__(self, folder: Path, modality: Image) -> None:
        if not (folder / "preprocessor_config.json").exists():
            raise UserError(f"{folder} holds no image model, but the data are images; choose backbones for images")
        self.modality = modality
        self.processor = CLIPImageProcessor.from_pretrained(folder)
        self.processor.stored_size = modality.size  # written down with the model, for a server that is sent whole files
        self.resolution = int(self.processor.crop_size["height"])
        self.mean = torch.tensor(self.processor.image_mean).view(1, 3, 1, 1)
        self.std = torch.tensor(self.processor.image_std).view(1, 3, 1, 1)

    def encode(self, frame: pd.DataFrame) -> list[np.ndarray]:
        """(S, S, 3), uint8, each."""
        return [self.modality.array(pixels) for pixels in frame["input"]]

    def length(self, item: Any) -> int:
        """All cost the same."""
        return 1

    def stack(self, items: Sequence[Any]) -> Batch:
        """`pixels` (B, 3, S, S), float in [0, 1]: what augmentations act on."""
        return {"pixels": torch.from_numpy(np.stack(items)).permute(0, 3, 1, 2).float() / 255}

    def inputs(self, batch: Batch) -> Batch:
        """`pixel_values` (B, 3, R, R), normalised."""
        pixels = batch["pixels"]
        if pixels.shape[-1] != self.resolution:
            pixels = F.interpolate(pixels, (self.resolution,) * 2, mode="bilinear", antialias=True)
        mean, std = self.mean.to(pixels), self.std.to(pixels)
        return {"pixel_values": ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)}

    def answer(self, network: PreTrainedModel) -> Answer:
        """See `Encoder.answer`."""

        @torch.inference_mode()
        def answer(images: Sequence[Any]) -> torch.Tensor:
            return network(**self.processor(list(images), return_tensors="pt")).logits

        return answer


def grey(images: Sequence[PIL.Image.Image]) -> np.ndarray:
    """Grey values (N, side²) in [0, 1]; what the linear baseline reads."""
    side = min(images[0].width, FLOOR_SIDE)
    small = [image.convert("L").resize((side, side), PIL.Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image, np.float32).ravel() / 255 for image in small])
