"""From images to normalised pixels, by the image processor of a model directory."""

import base64
import binascii
import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from decant.serving.pixels import (
    IMAGE_FORMATS,
    MAX_PIXELS,
    REDUCING_GAP,
    BadImage,
    center_square,
    check_image,
    to_rgb,
)
from decant.serving.preprocessing import Arrays, BadInput, Check, Preprocessor, describe, no_check
from decant.serving.settings import check_settings, is_number, is_whole, read_json

MAX_SIDE = 4096
"""Pixels of a side that a network may read."""


class ImagePreprocessor(Preprocessor):
    """Turns images into normalised pixels: the square that `prepare` would store, resized for the network."""

    def __init__(self, folder: Path) -> None:
        settings = read_settings(folder / "preprocessor_config.json")
        self.stored_size, self.crop_size = int(settings["stored_size"]), int(settings["crop_size"]["height"])
        mean, std = (np.array(settings[k], np.float32)[:, None, None] for k in ("image_mean", "image_std"))
        self.scale, self.shift = np.float32(settings["rescale_factor"]) / std, mean / std

    def encode(self, inputs: Sequence[object], check: Check = no_check) -> list[tuple[int, Any]]:
        """Inputs with their positions; `collate` decodes them, because pixels take much memory."""
        return list(enumerate(inputs))

    def batch_order(self, items: Sequence[object]) -> list[int]:
        """The given order: all images cost the same."""
        return list(range(len(items)))

    def collate(self, items: Sequence[tuple[int, Any]]) -> Arrays:
        """`pixel_values` (B, 3, R, R), float32."""
        pixels = np.stack([self._pixels(i, value) for i, value in items])
        return {"pixel_values": pixels.transpose(0, 3, 1, 2) * self.scale - self.shift}

    def _pixels(self, position: int, value: object) -> np.ndarray:
        """(R, R, 3), uint8."""
        try:
            image = center_square(open_rgb(value, self.stored_size), self.stored_size)
        except ValueError as error:
            raise BadInput(position, str(error)) from error
        return np.asarray(image.resize((self.crop_size, self.crop_size), Image.Resampling.BILINEAR))


def read_settings(file: Path) -> dict[str, Any]:
    """The settings of an image processor.

    Raises:
        UserError: the file is missing or damaged.
    """
    settings = read_json(file)
    names = ("stored_size", "crop_size", "image_mean", "image_std", "rescale_factor")
    values: list[Any] = [settings.get(name) for name in names]
    size, crop, mean, std, factor = values
    valid_crop = isinstance(crop, dict) and is_whole(crop.get("height"), 1, MAX_SIDE)
    check_settings(
        file,
        settings,
        stored_size=(is_whole(size, 1, MAX_SIDE), f"1 to {MAX_SIDE} pixels"),
        crop_size=(valid_crop, f"a height of 1 to {MAX_SIDE} pixels"),
        image_mean=(is_color(mean), "three numbers"),
        image_std=(is_color(std) and min(std) > 0, "three numbers above 0"),
        rescale_factor=(is_number(factor) and factor > 0, "a number above 0"),
    )
    return settings


def is_color(value: object) -> bool:
    """Whether a value is a number for each of red, green and blue."""
    return isinstance(value, list) and len(value) == 3 and all(map(is_number, value))


def open_rgb(value: object, size: int) -> Image.Image:
    """An upright RGB image from an image, the bytes of an image file, or these bytes in base64.

    Decodes as `decant.preparation.decode` does; `size`: the shorter side that is needed, in pixels.

    Raises:
        ValueError: the value is none of them; the message says what it is and what was expected.
    """
    if isinstance(value, Image.Image):
        try:
            return to_rgb(ImageOps.exif_transpose(value))
        except BadImage as error:
            raise ValueError(f"an image with {error}") from error
    if not isinstance(value, bytes | str):
        raise ValueError(f"{describe(value)}, expected an image or the bytes of an image file")
    content = file_content(value)
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            check_image(image)
            image.draft(None, (REDUCING_GAP * size, REDUCING_GAP * size))
            return to_rgb(ImageOps.exif_transpose(image))
    except BadImage as error:
        raise ValueError(f"an image with {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"an image with more than {MAX_PIXELS} pixels") from error
    except Exception as error:  # on damaged bytes the decoders raise a dozen unrelated classes
        raise ValueError(f"no image ({len(content):,} bytes), expected one of {', '.join(IMAGE_FORMATS)}") from error


def file_content(value: bytes | str) -> bytes:
    """The bytes of a file from these bytes, or from base64."""
    content = value.encode(errors="replace") if isinstance(value, str) else value
    if content[:1].isascii():  # no image file consists of base64's characters and line ends alone
        with suppress(binascii.Error):
            content = base64.b64decode(b"".join(content.split()), validate=True)
    return content
