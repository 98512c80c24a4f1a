"""Images: squares of pixels, decoded once by prepare; the linear baseline reads raw pixels."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
from sklearn.base import TransformerMixin
from sklearn.preprocessing import FunctionTransformer
from transformers import AutoModelForImageClassification

from decant.dataset.modality import Encoder, Modality
from decant.dataset.modality.image_encoder import ImageEncoder, to_array

BASELINE_SIDE = 32
"""Largest side, in pixels, of the images that the linear baseline reads; larger ones make it slower, rarely better."""
DESCRIBED = 1000
"""Images whose pixels the statistics in card.json are computed from, at most."""


class Image(Modality):
    """RGB squares of `size` pixels a side, stored as their raw bytes."""

    name = "image"
    baseline_features = "raw pixels"

    def __init__(self, size: int) -> None:
        self.size = size

    def duplicate_keys(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """See `Modality.duplicate_keys`; digests of the pixels."""
        return frame["input"].map(lambda pixels: hashlib.sha256(pixels).hexdigest() if pixels else "")

    def display(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """See `Modality.display`; row ids."""
        return frame["row_id"]

    def describe(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Mean and standard deviation of the pixels, in [0, 1], over at most `DESCRIBED` images."""
        pixels = np.stack([to_array(p, self.size) for p in frame["input"].head(DESCRIBED)]) / 255
        return {"pixels": {"mean": round(float(pixels.mean()), 4), "std": round(float(pixels.std()), 4)}}

    def raw(self, frame: pd.DataFrame) -> list[Any]:
        """Pillow images."""
        return [PIL.Image.fromarray(to_array(p, self.size)) for p in frame["input"]]

    def request_inputs(self, frame: pd.DataFrame) -> list[Any]:
        """See `Modality.request_inputs`; the bytes of PNG files."""
        files = [io.BytesIO() for _ in range(len(frame))]
        for image, file in zip(self.raw(frame), files, strict=True):
            image.save(file, "PNG")
        return [file.getvalue() for file in files]

    def feature_extractor(self) -> TransformerMixin:
        """Grey values in [0, 1], see `grey_values`."""
        return FunctionTransformer(grey_values)

    def auto_model(self) -> Any:
        """See `Modality.auto_model`."""
        return AutoModelForImageClassification

    def encoder(self, folder: Path, max_length: int | None = None) -> Encoder:
        """See `Modality.encoder`; `max_length` has no effect on images."""
        return ImageEncoder(folder, self.size)


def grey_values(images: Sequence[PIL.Image.Image]) -> np.ndarray:
    """Grey values (N, side²) in [0, 1], of squares of at most `BASELINE_SIDE` pixels a side."""
    side = min(images[0].width, BASELINE_SIDE)
    small = [image.convert("L").resize((side, side), PIL.Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image, np.float32).ravel() / 255 for image in small])
