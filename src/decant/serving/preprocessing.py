"""Raw inputs to the arrays of a network, as the tokenizer or image processor of its model directory makes them.

Shipped with a logged model, like `answer.py`: what is imported there may be imported here.
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
from decant.serving.pixels import FORMATS, GAP, BadImage, check, rgb, square

Arrays = dict[str, np.ndarray]
"""The inputs of a network by name."""
EXPECTED_FOLDER = "expected a model directory, as dvc repro makes it"


class BadInput(UserError):
    """An input that cannot be answered: `position` among those of the call, from 0, and the `reason`."""

    def __init__(self, position: int, reason: str) -> None:
        self.position, self.reason = position, reason
        super().__init__(f"inputs[{position}] is {reason}")


def read_json(file: Path) -> dict[str, Any]:
    """What a file of a model directory says.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); {EXPECTED_FOLDER}") from error


class Inputs(ABC):
    """The inputs of one kind of network."""

    @abstractmethod
    def read(self, inputs: Sequence[Any]) -> list[Any]:
        """Each input, checked, as `batch` takes it.

        Raises:
            BadInput: the first that is bad.
        """

    @abstractmethod
    def order(self, items: Sequence[Any]) -> list[int]:
        """Which follow each other in batches, so that like costs share one."""

    @abstractmethod
    def batch(self, items: Sequence[Any]) -> Arrays:
        """The arrays of a forward pass."""


class Texts(Inputs):
    """Texts and pairs of texts to tokens, as transformers' tokenizer of the model directory cuts them.

    Args:
        folder: with tokenizer.json and tokenizer_config.json.
        types: whether the network takes `token_type_ids`.
        sides: how many texts an input may have.
    """

    def __init__(self, folder: Path, types: bool, sides: Collection[int]) -> None:
        self.types, self.sides = types, sides
        settings = read_json(folder / "tokenizer_config.json")
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # of no class of its own
            raise UserError(f"{folder / 'tokenizer.json'} cannot be read ({error}); {EXPECTED_FOLDER}") from error
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        longest = settings.get("model_max_length")
        if longest is not None and longest < 2**31:  # transformers writes 1e30 for none
            side = settings.get("truncation_side", "right")
            self.tokenizer.enable_truncation(int(longest), strategy="longest_first", direction=side)
        pad = settings.get("pad_token")
        self.pad = self.tokenizer.token_to_id(pad["content"] if isinstance(pad, dict) else pad or "") or 0

    def read(self, inputs: Sequence[Any]) -> list[Encoding]:
        """Tokens of every input."""
        texts = [self._checked(i, given) for i, given in enumerate(inputs)]
        try:
            return self.tokenizer.encode_batch_fast(texts)
        except TypeError:  # of a string that Rust cannot hold
            for i, text in enumerate(texts):
                if not encodable(text):
                    raise BadInput(i, "a text with half of a surrogate pair, expected Unicode characters") from None
            raise

    def order(self, items: Sequence[Encoding]) -> list[int]:
        """By length."""
        return sorted(range(len(items)), key=[len(e) for e in items].__getitem__)

    def batch(self, items: Sequence[Encoding]) -> Arrays:
        """input_ids, attention_mask and, where the network takes them, token_type_ids (B, T); padded on the right."""
        lengths = np.array([len(e) for e in items])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(mask.shape, self.pad, np.int64)
        ids[mask] = list(chain.from_iterable(e.ids for e in items))
        arrays = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        if self.types:
            arrays["token_type_ids"] = types = np.zeros_like(ids)
            types[mask] = list(chain.from_iterable(e.type_ids for e in items))
        return arrays

    def _checked(self, position: int, given: Any) -> str | tuple[str, str]:
        texts = (given,) if isinstance(given, str) else sides(given)
        if texts is None or not all(isinstance(t, str) for t in texts) or len(texts) not in self.sides:
            raise BadInput(position, f"{shown(given)}, expected {' or '.join(EXPECTED[n] for n in self.sides)}")
        return texts[0] if len(texts) == 1 else (texts[0], texts[1])


EXPECTED = {1: "a text", 2: 'a pair of texts, {"text": ..., "text_pair": ...}'}


def sides(given: Any) -> tuple[Any, ...] | None:
    """The two texts of a pair; None: it is not one."""
    if isinstance(given, Mapping):
        return tuple(given[k] for k in ("text", "text_pair")) if {"text", "text_pair"} <= given.keys() else None
    return tuple(given) if isinstance(given, tuple | list) and len(given) == 2 else None


def shown(given: Any) -> str:
    """A bad input as a message names it: short, and never the bytes of a file."""
    if isinstance(given, Mapping):
        return f"a mapping of {', '.join(f'{k!r} ({type(v).__name__})' for k, v in given.items()) or 'nothing'}"
    if isinstance(given, bytes | Image.Image):
        return "bytes" if isinstance(given, bytes) else "an image"
    text = repr(given)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(given).__name__})"


def encodable(text: str | tuple[str, str]) -> bool:
    """Whether a text is valid Unicode: JSON can carry half of a surrogate pair."""
    try:
        "".join(text).encode()
    except UnicodeEncodeError:
        return False
    return True


class Images(Inputs):
    """Images to pixels: the square that `prepare` would have stored, at the network's size, normalised."""

    def __init__(self, folder: Path) -> None:
        settings = read_json(folder / "preprocessor_config.json")
        self.stored, self.side = int(settings["stored_size"]), int(settings["crop_size"]["height"])
        mean, std = (np.array(settings[k], np.float32)[:, None, None] for k in ("image_mean", "image_std"))
        self.scale, self.shift = np.float32(settings["rescale_factor"]) / std, mean / std

    def read(self, inputs: Sequence[Any]) -> list[tuple[int, Any]]:
        """Inputs with their positions; pixels are made batch by batch, for they are large."""
        return list(enumerate(inputs))

    def order(self, items: Sequence[Any]) -> list[int]:
        """As they come: all cost the same."""
        return list(range(len(items)))

    def batch(self, items: Sequence[tuple[int, Any]]) -> Arrays:
        """`pixel_values` (B, 3, R, R), float32."""
        pixels = np.stack([self._pixels(i, given) for i, given in items])
        return {"pixel_values": pixels.transpose(0, 3, 1, 2) * self.scale - self.shift}

    def _pixels(self, position: int, given: Any) -> np.ndarray:
        """(R, R, 3), uint8."""
        try:
            image = square(upright(given, self.stored), self.stored)
        except ValueError as error:
            raise BadInput(position, str(error)) from error
        return np.asarray(image.resize((self.side, self.side), Image.Resampling.BILINEAR))


def upright(given: Any, size: int) -> Image.Image:
    """An image, the bytes of an image file, or those in base64, as `decant.data.decode` reads them: RGB.

    Raises:
        ValueError: it is none of them; the message says what it is, and what was expected.
    """
    if isinstance(given, Image.Image):
        try:
            return rgb(ImageOps.exif_transpose(given))
        except BadImage as error:
            raise ValueError(f"an image with {error}") from error
    if not isinstance(given, bytes | str):
        raise ValueError(f"{shown(given)}, expected an image or the bytes of an image file")
    content = given.encode(errors="replace") if isinstance(given, str) else given
    if content[:1].isascii():  # no image file consists of base64's characters and line ends alone
        with suppress(binascii.Error):
            content = base64.b64decode(b"".join(content.split()), validate=True)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            check(image)
            image.draft(None, (GAP * size, GAP * size))
            return rgb(ImageOps.exif_transpose(image))
    except BadImage as error:
        raise ValueError(f"an image with {error}") from error
    except Exception as error:  # on damaged bytes the decoders raise a dozen unrelated classes
        raise ValueError(f"no image ({len(content):,} bytes), expected one of {', '.join(FORMATS)}") from error
