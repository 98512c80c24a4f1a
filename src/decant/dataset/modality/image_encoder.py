"""Batches of pixels for a network that reads images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from transformers import CLIPImageProcessorPil, PreTrainedModel

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Encoder, PredictFn


class ImageEncoder(Encoder):
    """Pixels, resized and normalised on the device as the image processor of the model directory says."""

    def __init__(self, folder: Path, size: int) -> None:
        if not (folder / "preprocessor_config.json").exists():
            raise UserError(f"{folder} holds no image model, but the data are images; choose backbones for images")
        self.size = size
        self.processor = CLIPImageProcessorPil.from_pretrained(folder)
        self.processor.stored_size = size  # saved with the model, for a server, which gets whole image files
        self.resolution = int(self.processor.crop_size["height"])
        self.mean = torch.tensor(self.processor.image_mean).view(1, 3, 1, 1)
        self.std = torch.tensor(self.processor.image_std).view(1, 3, 1, 1)

    def encode(self, frame: pd.DataFrame) -> list[np.ndarray]:
        """A list of (S, S, 3), uint8."""
        return [to_array(p, self.size) for p in frame["input"]]

    def length(self, item: object) -> int:
        """1: all images cost the same."""
        return 1

    def stack(self, items: Sequence[Any]) -> Batch:
        """`pixels` (B, 3, S, S), float in [0, 1], before augmentation."""
        return {"pixels": torch.from_numpy(np.stack(items)).permute(0, 3, 1, 2).float() / 255}

    def inputs(self, batch: Batch) -> Batch:
        """`pixel_values` (B, 3, R, R), normalised."""
        pixels = batch["pixels"]
        if pixels.shape[-1] != self.resolution:
            pixels = F.interpolate(pixels, (self.resolution,) * 2, mode="bilinear", antialias=True)
        mean, std = self.mean.to(pixels), self.std.to(pixels)
        return {"pixel_values": ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)}

    def predict_fn(self, network: PreTrainedModel) -> PredictFn:
        """See `Encoder.predict_fn`."""

        @torch.inference_mode()
        def predict(images: Sequence[object]) -> torch.Tensor:
            return network(**self.processor(list(images), return_tensors="pt")).logits

        return predict


def to_array(pixels: bytes, size: int) -> np.ndarray:
    """Stored pixels as (S, S, 3), uint8."""
    return np.frombuffer(pixels, np.uint8).reshape(size, size, 3)
