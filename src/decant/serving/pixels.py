"""From a picture that was opened to the square of pixels that a network sees; the same in prepare and in a server."""

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 64_000_000
"""A larger image is refused from its header: a small file can claim to need all the memory there is."""
GAP = 2
"""A cheap reduction comes first, down to this many times the wanted side; the rest is done well."""


class BadImage(ValueError):
    """Bytes that give no picture, or not just one; the message is a short reason."""


def check(image: Image.Image) -> None:
    """Refuse too many pixels or frames.

    Raises:
        BadImage: it has.
    """
    if image.width * image.height > MOST_PIXELS:
        raise BadImage(f"more than {MOST_PIXELS} pixels")
    # MPO is the JPEG of a phone with a second view behind it: the first picture is the photo
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise BadImage("several frames or pages: which of them is meant would be a guess")


def rgb(image: Image.Image) -> Image.Image:
    """In colour, 8 bits; transparent parts become white.

    Raises:
        BadImage: values of unknown range.
    """
    if image.mode[0] in "IF":  # I, I;16, I;16B, F
        return eight_bits(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bit (0 to 65535), or floats (0 to 1, or 0 to 255)."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    top = 65535 if image.mode[0] == "I" else 1 if high <= 1 else 255
    if not 0 <= low <= high <= top:  # true of NaN, too
        raise BadImage(f"pixels from {low} to {high}, expected 0 to {top}: save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values * np.float32(255 / top)).astype(np.uint8))


def square(image: Image.Image, size: int) -> Image.Image:
    """The middle, `size` pixels a side: the shorter side is kept whole."""
    side = min(image.size)
    # whole pixels: half a pixel would blur an image that needs no resizing
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=GAP)
