"""From the bytes of an image file to the square of pixels that a network reads."""

import io
import re
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from decant.serving.pixels import (
    IMAGE_FORMATS,
    MAX_PIXELS,
    REDUCING_GAP,
    BadImage,
    center_square,
    check_image,
    to_rgb,
)

MAX_SCANS = 100
"""Passes over the pixels of a progressive JPEG; encoders write about ten. Each takes up to a tenth of a second."""
JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
"""The start of a segment; within the pixels, 0xff is followed by one of the excluded bytes."""
SCAN, END = b"\xda", b"\xd9"
THREADS = 4
"""Pillow releases the interpreter lock while it decodes and resizes."""


def decode(content: bytes, size: int) -> np.ndarray:
    """The central square of an image, upright, in colour: uint8 (size, size, 3), RGB.

    The shorter side is resized to `size` (antialiased bilinear); the longer side is cropped evenly at both ends.
    Transparent parts become white; 16-bit grey is scaled, not clipped. Colour profiles are not applied.
    A JPEG with wrong bytes in its middle still decodes: the format has no checksum.

    Not thread-safe (it sets warning filters); see `decode_all`.

    Raises:
        BadImage: unknown format, damaged, more than `MAX_PIXELS`, several frames, values of unknown range.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata that does not matter here, and sizes that `check` refuses
        return _decode(content, size)


def decode_all(inputs: Iterable[bytes], ids: Iterable[str], size: int) -> tuple[list[bytes | None], dict[str, str]]:
    """Decode many images in several threads.

    Returns:
        For each input the size * size * 3 raw bytes of `decode` (rows, columns, RGB), or None; and {id: reason} of the
        bad inputs.
    """
    # warning filters belong to the process, not to a thread: set them once, around all threads
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore")
        results = list(pool.map(lambda content: _pixels_or_reason(content, size), inputs))
    reasons = {i: r for i, r in zip(ids, results, strict=True) if isinstance(r, str)}
    return [r if isinstance(r, bytes) else None for r in results], reasons


def _pixels_or_reason(content: bytes, size: int) -> bytes | str:
    try:
        return _decode(content, size).tobytes()
    except BadImage as error:
        return str(error)


def _decode(content: bytes, size: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            check_image(image)
            if image.format == "JPEG" and jpeg_scans(content) > MAX_SCANS:
                raise BadImage(f"more than {MAX_SCANS} scans")
            image.draft(None, (REDUCING_GAP * size, REDUCING_GAP * size))
            ImageOps.exif_transpose(image, in_place=True)
            return np.array(center_square(to_rgb(image), size))
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage(f"not an image in a format that is read here ({', '.join(IMAGE_FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise BadImage(f"more than {MAX_PIXELS} pixels") from error
    except Exception as error:
        # on damaged bytes the decoders raise a dozen unrelated classes
        raise BadImage(f"damaged ({type(error).__name__}: {error})") from error


def jpeg_scans(content: bytes) -> int:
    """The number of passes over the pixels in a JPEG file."""
    scans, position = 0, 0
    while (marker := JPEG_MARKER.search(content, position)) and marker[1] != END:
        scans += marker[1] == SCAN
        position = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
    return scans
