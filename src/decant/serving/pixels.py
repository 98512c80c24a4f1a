"""From an opened image to the square of pixels that a network reads; prepare and the served model share this code."""

import numpy as np
from PIL import Image

IMAGE_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 64_000_000
"""Larger images are refused from their header: a small file can claim to need all available memory."""
MAX_SIDE = 65_535
"""Pixels of a side, as JPEG has it: Pillow copies a row again with each 64 KiB of it that it reads."""
REDUCING_GAP = 2
"""Pillow first reduces an image cheaply to this many times the requested size, then resamples it properly."""


class BadImage(ValueError):
    """Bytes that hold no image, or more than one; the message is a short reason."""


def check_image(image: Image.Image) -> None:
    """Check the number of pixels, of a side and in all, and of frames.

    Raises:
        BadImage: too many of them.
    """
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(f"more than {MAX_PIXELS} pixels")
    if max(image.size) > MAX_SIDE:
        raise BadImage(f"a side of more than {MAX_SIDE} pixels")
    # MPO is the JPEG of a phone with a second view behind it: the first image is the photo
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise BadImage("several frames or pages: which of them is meant would be a guess")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB with 8 bits per channel; transparent parts become white.

    Raises:
        BadImage: pixel values of an unknown range.
    """
    if image.mode[0] in "IF":  # I, I;16, I;16B, F
        return to_eight_bits(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Rescale 16-bit grey (0 to 65535) or floats (0 to 1, or 0 to 255) to 8 bits."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    top = 65535 if image.mode[0] == "I" else 1 if high <= 1 else 255
    if not 0 <= low <= high <= top:  # true of NaN, too
        raise BadImage(f"pixels from {low} to {high}, expected 0 to {top}: save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values * np.float32(255 / top)).astype(np.uint8))


def center_square(image: Image.Image, size: int) -> Image.Image:
    """The center crop as a square of `size` pixels a side; no part of the shorter side is cropped."""
    side = min(image.size)
    # whole pixels: half a pixel would blur an image that needs no resizing
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=REDUCING_GAP)
