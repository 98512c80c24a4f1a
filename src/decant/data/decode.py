"""From the bytes of an image file to the square of pixels that a network sees."""

import io
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 64_000_000
"""A larger image is refused from its header: a small file can claim to need all the memory there is."""
GAP = 2
"""A cheap reduction comes first, down to this many times the wanted side; the rest is done well."""
THREADS = 4
"""Pillow releases the interpreter lock while it decodes and resizes."""


class BadImage(ValueError):
    """Bytes that give no picture, or not just one; the message is a short reason."""


def decode(content: bytes, size: int) -> np.ndarray:
    """The middle square of an image, upright, in colour: uint8 (size, size, 3), RGB.

    The shorter side becomes `size` (antialiased bilinear), the rest of the longer side is cut off evenly.
    Transparent parts become white; 16-bit grey is scaled, not clipped. Colour profiles are not applied.
    A JPEG with wrong bytes in its middle still decodes: the format has no checksum.

    Not for several threads at once (it sets warning filters); see `decode_all`.

    Raises:
        BadImage: unknown format, damaged, more than `MOST_PIXELS`, several frames, values of unknown range.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are of metadata that pixels do not need, and of sizes refused here
        return _decode(content, size)


def decode_all(inputs: Iterable[bytes], ids: Iterable[str], size: int) -> tuple[list[bytes | None], dict[str, str]]:
    """Decode many images, several at a time.

    Returns:
        For each input the size * size * 3 raw bytes of `decode` (rows, columns, RGB), or None; and by the id of
        each bad input the reason.
    """
    # filters belong to the process, not to a thread: set once, around all threads
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore")
        results = list(pool.map(lambda content: _attempt(content, size), inputs))
    problems = {i: r for i, r in zip(ids, results, strict=True) if isinstance(r, str)}
    return [r if isinstance(r, bytes) else None for r in results], problems


def _attempt(content: bytes, size: int) -> bytes | str:
    try:
        return _decode(content, size).tobytes()
    except BadImage as error:
        return str(error)


def _decode(content: bytes, size: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check(image)
            image.draft(None, (GAP * size, GAP * size))
            ImageOps.exif_transpose(image, in_place=True)
            return np.array(_square(_rgb(image), size))
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage(f"not an image in a format that is read here ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise BadImage(f"more than {MOST_PIXELS} pixels") from error
    except Exception as error:
        # on damaged bytes the decoders raise a dozen unrelated classes
        raise BadImage(f"damaged ({type(error).__name__}: {error})") from error


def _check(image: Image.Image) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise BadImage(f"more than {MOST_PIXELS} pixels")
    # MPO is the JPEG of a phone with a second view behind it: the first picture is the photo
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise BadImage("several frames or pages: which of them is meant would be a guess")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":  # I, I;16, I;16B, F
        return _eight_bits(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bit (0 to 65535), or floats (0 to 1, or 0 to 255)."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    top = 65535 if image.mode[0] == "I" else 1 if high <= 1 else 255
    if not 0 <= low <= high <= top:  # true of NaN, too
        raise BadImage(f"pixels from {low} to {high}, expected 0 to {top}: save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values * np.float32(255 / top)).astype(np.uint8))


def _square(image: Image.Image, size: int) -> Image.Image:
    side = min(image.size)
    # whole pixels: half a pixel would blur an image that needs no resizing
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=GAP)
