"""From raw inputs to the arrays of a network, by the tokenizer or image processor of its model directory.

Shipped with every logged model; may import only what `predictor.py` may import.
"""

import base64
import binascii
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from tokenizers import Encoding, Tokenizer

from decant.core.errors import UserError
from decant.serving.pixels import IMAGE_FORMATS, REDUCING_GAP, BadImage, center_square, check_image, to_rgb

Arrays = dict[str, np.ndarray]
"""The inputs of a network by name."""
EXPECTED_FOLDER = "expected a model directory, as dvc repro makes it"
EXPECTED_TEXTS = {1: "a text", 2: 'a pair of texts, {"text": ..., "text_pair": ...}'}
"""What an input should be, by its number of texts."""


class BadInput(UserError):
    """An input without a prediction: its `position` in the call, from 0, and the `reason`."""

    def __init__(self, position: int, reason: str) -> None:
        self.position, self.reason = position, reason
        super().__init__(f"inputs[{position}] is {reason}")


def read_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file of a model directory.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); {EXPECTED_FOLDER}") from error


class Preprocessor(ABC):
    """Turns raw inputs of one modality into the arrays of a network."""

    @abstractmethod
    def encode(self, inputs: Sequence[Any]) -> list[Any]:
        """Check each input and turn it into an item that `collate` takes.

        Raises:
            BadInput: the first bad input.
        """

    @abstractmethod
    def batch_order(self, items: Sequence[Any]) -> list[int]:
        """The order in which items fill the batches, so that items of similar cost share a batch."""

    @abstractmethod
    def collate(self, items: Sequence[Any]) -> Arrays:
        """The arrays of one forward pass."""


class TextPreprocessor(Preprocessor):
    """Tokenizes texts and pairs of texts exactly as the transformers tokenizer of the model directory does.

    Args:
        folder: with tokenizer.json and tokenizer_config.json.
        token_types: whether the network takes `token_type_ids`.
        texts_per_input: the accepted numbers of texts in an input.
    """

    def __init__(self, folder: Path, token_types: bool, texts_per_input: Collection[int]) -> None:
        self.token_types, self.texts_per_input = token_types, texts_per_input
        settings = read_json(folder / "tokenizer_config.json")
        self.tokenizer = load_tokenizer(folder / "tokenizer.json", settings)
        pad = settings.get("pad_token")
        self.pad = self.tokenizer.token_to_id(pad["content"] if isinstance(pad, dict) else pad or "") or 0

    def encode(self, inputs: Sequence[Any]) -> list[Encoding]:
        """The tokens of every input."""
        texts = [self._texts(i, value) for i, value in enumerate(inputs)]
        try:
            return self.tokenizer.encode_batch_fast(texts)
        except TypeError:  # raised for strings that Rust cannot hold
            for i, text in enumerate(texts):
                if not is_valid_unicode(text):
                    raise BadInput(i, "a text with half of a surrogate pair, expected Unicode characters") from None
            raise

    def batch_order(self, items: Sequence[Encoding]) -> list[int]:
        """Ascending length."""
        return sorted(range(len(items)), key=[len(e) for e in items].__getitem__)

    def collate(self, items: Sequence[Encoding]) -> Arrays:
        """input_ids, attention_mask and, if the network takes them, token_type_ids (B, T); padded on the right."""
        lengths = np.array([len(e) for e in items])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(mask.shape, self.pad, np.int64)
        ids[mask] = list(chain.from_iterable(e.ids for e in items))
        arrays = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        if self.token_types:
            arrays["token_type_ids"] = types = np.zeros_like(ids)
            types[mask] = list(chain.from_iterable(e.type_ids for e in items))
        return arrays

    def _texts(self, position: int, value: Any) -> str | tuple[str, str]:
        texts = (value,) if isinstance(value, str) else text_pair(value)
        if texts is None or not all(isinstance(t, str) for t in texts) or len(texts) not in self.texts_per_input:
            expected = " or ".join(EXPECTED_TEXTS[count] for count in self.texts_per_input)
            raise BadInput(position, f"{describe(value)}, expected {expected}")
        return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def load_tokenizer(file: Path, settings: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a model directory, with the truncation of its tokenizer_config.json and without padding.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{file} cannot be read ({error}); {EXPECTED_FOLDER}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    max_length = settings.get("model_max_length")
    if max_length is not None and max_length < 2**31:  # transformers writes 1e30 for "no limit"
        direction = settings.get("truncation_side", "right")
        tokenizer.enable_truncation(int(max_length), strategy="longest_first", direction=direction)
    return tokenizer


def text_pair(value: Any) -> tuple[Any, ...] | None:
    """The two texts of a pair; None: the value is no pair."""
    if isinstance(value, Mapping):
        return tuple(value[k] for k in ("text", "text_pair")) if {"text", "text_pair"} <= value.keys() else None
    return tuple(value) if isinstance(value, tuple | list) and len(value) == 2 else None


def describe(value: Any) -> str:
    """A bad input in a message: short, and never the bytes of a file."""
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(f'{k!r} ({type(v).__name__})' for k, v in value.items()) or 'nothing'}"
    if isinstance(value, bytes | Image.Image):
        return "bytes" if isinstance(value, bytes) else "an image"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def is_valid_unicode(text: str | tuple[str, str]) -> bool:
    """Whether a text is valid Unicode: JSON can carry half of a surrogate pair."""
    try:
        "".join(text).encode()
    except UnicodeEncodeError:
        return False
    return True


class ImagePreprocessor(Preprocessor):
    """Turns images into normalised pixels: the square that `prepare` would store, resized for the network."""

    def __init__(self, folder: Path) -> None:
        settings = read_json(folder / "preprocessor_config.json")
        self.stored_size, self.crop_size = int(settings["stored_size"]), int(settings["crop_size"]["height"])
        mean, std = (np.array(settings[k], np.float32)[:, None, None] for k in ("image_mean", "image_std"))
        self.scale, self.shift = np.float32(settings["rescale_factor"]) / std, mean / std

    def encode(self, inputs: Sequence[Any]) -> list[tuple[int, Any]]:
        """Inputs with their positions; `collate` decodes them, because pixels take much memory."""
        return list(enumerate(inputs))

    def batch_order(self, items: Sequence[Any]) -> list[int]:
        """The given order: all images cost the same."""
        return list(range(len(items)))

    def collate(self, items: Sequence[tuple[int, Any]]) -> Arrays:
        """`pixel_values` (B, 3, R, R), float32."""
        pixels = np.stack([self._pixels(i, value) for i, value in items])
        return {"pixel_values": pixels.transpose(0, 3, 1, 2) * self.scale - self.shift}

    def _pixels(self, position: int, value: Any) -> np.ndarray:
        """(R, R, 3), uint8."""
        try:
            image = center_square(open_rgb(value, self.stored_size), self.stored_size)
        except ValueError as error:
            raise BadInput(position, str(error)) from error
        return np.asarray(image.resize((self.crop_size, self.crop_size), Image.Resampling.BILINEAR))


def open_rgb(value: Any, size: int) -> Image.Image:
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
    except Exception as error:  # on damaged bytes the decoders raise a dozen unrelated classes
        raise ValueError(f"no image ({len(content):,} bytes), expected one of {', '.join(IMAGE_FORMATS)}") from error


def file_content(value: bytes | str) -> bytes:
    """The bytes of a file from these bytes, or from base64."""
    content = value.encode(errors="replace") if isinstance(value, str) else value
    if content[:1].isascii():  # no image file consists of base64's characters and line ends alone
        with suppress(binascii.Error):
            content = base64.b64decode(b"".join(content.split()), validate=True)
    return content
