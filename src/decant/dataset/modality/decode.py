"""From the bytes of an image file to the square of pixels that a network sees."""

import io
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

THREADS = 4
"""Pillow releases the interpreter lock while it decodes and resizes."""


def decode(content: bytes, size: int) -> np.ndarray:
    """The middle square of an image, upright, in colour: uint8 (size, size, 3), RGB.

    The shorter side becomes `size` (antialiased bilinear), the rest of the longer side is cut off evenly.
    Transparent parts become white; 16-bit grey is scaled, not clipped. Colour profiles are not applied.
    A JPEG with wrong bytes in its middle still decodes: the format has no checksum.

    Not for several threads at once (it sets warning filters); see `decode_all`.

    Raises:
        BadImage: unknown format, damaged, more than `MAX_PIXELS`, several frames, values of unknown range.
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
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            check_image(image)
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
