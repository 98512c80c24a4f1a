"""From raw texts to token ids, by the tokenizer of a model directory."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from decant.core.errors import UserError
from decant.serving.limits import MAX_TOKENIZED
from decant.serving.preprocessing import Arrays, BadInput, Check, Preprocessor, describe, no_check
from decant.serving.settings import EXPECTED_FOLDER, check_settings, is_whole, read_json

EXPECTED_TEXTS = {1: "a text", 2: 'a pair of texts, {"text": ..., "text_pair": ...}'}
"""What an input should be, by its number of texts."""
FIRST_WINDOW = 32
"""Characters of a long text that are tokenized first, for each token that is kept: most texts have 4 to 6."""
NO_LIMIT = 2**31
"""transformers writes 1e30 as the length of a tokenizer that keeps all tokens."""
Texts = str | tuple[str, str]


class Tokens(NamedTuple):
    """An input as token ids."""

    ids: np.ndarray
    """(T,)"""
    types: np.ndarray
    """(T,): 0 in the first text of a pair, 1 in the second."""


class TextPreprocessor(Preprocessor):
    """Tokenizes texts and pairs of texts exactly as the transformers tokenizer of the model directory does.

    Args:
        folder: with tokenizer.json and tokenizer_config.json.
        token_types: whether the network takes `token_type_ids`.
        texts_per_input: the accepted numbers of texts in an input.
    """

    def __init__(self, folder: Path, token_types: bool, texts_per_input: Collection[int]) -> None:
        self.token_types, self.texts_per_input = token_types, texts_per_input
        file = folder / "tokenizer_config.json"
        settings = read_json(file)
        pad = settings.get("pad_token")
        pad = pad.get("content") if isinstance(pad, dict) else pad
        check_settings(file, settings, pad_token=(pad is None or isinstance(pad, str), "a token"))
        self.tokenizer = load_tokenizer(folder / "tokenizer.json")
        set_truncation(self.tokenizer, file, settings)
        self.pad = self.tokenizer.token_to_id(pad or "") or 0
        self.margin = 1 + max(
            (len(token.content) for token in self.tokenizer.get_added_tokens_decoder().values()), default=0
        )

    def encode(self, inputs: Sequence[Any], check: Check = no_check) -> list[Tokens]:
        """The tokens of every input."""
        items = []
        for encoding in self._encodings(self._texts(i, value) for i, value in enumerate(inputs)):
            check()
            items.append(Tokens(np.array(encoding.ids, np.int64), np.array(encoding.type_ids, np.int64)))
        return items

    def batch_order(self, items: Sequence[Tokens]) -> list[int]:
        """Ascending length."""
        return sorted(range(len(items)), key=[len(item.ids) for item in items].__getitem__)

    def collate(self, items: Sequence[Tokens]) -> Arrays:
        """input_ids, attention_mask and, if the network takes them, token_type_ids (B, T); padded on the right."""
        lengths = np.array([len(item.ids) for item in items])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(mask.shape, self.pad, np.int64)
        ids[mask] = np.concatenate([item.ids for item in items])
        arrays = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        if self.token_types:
            arrays["token_type_ids"] = types = np.zeros_like(ids)
            types[mask] = np.concatenate([item.types for item in items])
        return arrays

    def _texts(self, position: int, value: Any) -> Texts:
        """The checked texts of an input; a long one without the part that no kept token comes from."""
        texts = (value,) if isinstance(value, str) else text_pair(value)
        if texts is None or not all(isinstance(t, str) for t in texts) or len(texts) not in self.texts_per_input:
            expected = " or ".join(EXPECTED_TEXTS[count] for count in self.texts_per_input)
            raise BadInput(position, f"{describe(value)}, expected {expected}")
        if not all(map(is_valid_unicode, texts)):
            raise BadInput(position, "a text with half of a surrogate pair, expected Unicode characters")
        # of pairs, the longer text loses more tokens: their whole lengths matter
        texts = texts if len(texts) == 2 else (self._shortened(texts[0]),)
        if (length := max(map(len, texts))) > MAX_TOKENIZED:
            expected = f"expected at most {MAX_TOKENIZED:,} before the last token that the network reads"
            raise BadInput(position, f"a text of {length:,} characters, {expected}")
        return texts[0] if len(texts) == 1 else (texts[0], texts[1])

    def _shortened(self, text: str) -> str:
        """A start of the text with the same first tokens; the text itself if there is none in `MAX_TOKENIZED`."""
        truncation = self.tokenizer.truncation
        if truncation is None or truncation["direction"] != "right":
            return text
        length = FIRST_WINDOW * truncation["max_length"]
        while length < min(len(text), MAX_TOKENIZED):
            if self._holds_all_kept_tokens(text[:length]):
                return text[:length]
            length *= 4
        start = text[:MAX_TOKENIZED]
        return start if len(text) > MAX_TOKENIZED and self._holds_all_kept_tokens(start) else text

    def _holds_all_kept_tokens(self, start: str) -> bool:
        """Whether no character after the start of a text can change the tokens that are kept.

        It could change those of the last word, and those of an added token, such as [SEP], that is cut in two.
        """
        encoding = self.tokenizer.encode(start)
        words = [word for rest in encoding.overflowing for word in rest.word_ids if word is not None]
        kept = [word for word in encoding.word_ids if word is not None]
        if not words or not kept:
            return False
        return max(kept) < max(words) and max(end for _, end in encoding.offsets) <= len(start) - self.margin

    def _encodings(self, texts: Iterable[Texts]) -> Iterator[Encoding]:
        """Tokenizes `MAX_TOKENIZED` characters at a time: an encoding holds also the tokens that are cut off."""
        part: list[Texts] = []
        room = MAX_TOKENIZED
        for text in texts:
            length = len(text) if isinstance(text, str) else sum(map(len, text))
            if part and length > room:
                yield from self.tokenizer.encode_batch_fast(part)
                part, room = [], MAX_TOKENIZED
            part.append(text)
            room -= length
        yield from self.tokenizer.encode_batch_fast(part)


def load_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer of a model directory, without truncation and padding.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{file} cannot be read ({error}); {EXPECTED_FOLDER}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def set_truncation(tokenizer: Tokenizer, file: Path, settings: Mapping[str, Any]) -> None:
    """Truncate as tokenizer_config.json says.

    Raises:
        UserError: a length that leaves no room for a token, an unknown side.
    """
    max_length, side = settings.get("model_max_length"), settings.get("truncation_side", "right")
    room = tokenizer.num_special_tokens_to_add(is_pair=True)
    check_settings(
        file,
        settings,
        model_max_length=(max_length is None or is_whole(max_length, room + 1, float("inf")), f"more than {room}"),
        truncation_side=(side in ("left", "right"), "left or right"),
    )
    if max_length is not None and max_length < NO_LIMIT:
        tokenizer.enable_truncation(int(max_length), strategy="longest_first", direction=side)


def text_pair(value: Any) -> tuple[Any, ...] | None:
    """The two texts of a pair; None: the value is no pair."""
    if isinstance(value, Mapping):
        return (value["text"], value["text_pair"]) if value.keys() == {"text", "text_pair"} else None
    return tuple(value) if isinstance(value, tuple | list) and len(value) == 2 else None


def is_valid_unicode(text: str) -> bool:
    """Whether a text is valid Unicode: JSON can carry half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
