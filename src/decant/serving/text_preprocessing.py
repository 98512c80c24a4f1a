"""From raw texts to token ids, by the tokenizer of a model directory."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from decant.core.errors import UserError
from decant.serving.limits import MAX_TOKENIZED
from decant.serving.preprocessing import Arrays, BadInput, Check, Preprocessor, describe, no_check
from decant.serving.settings import EXPECTED_FOLDER, check_settings, is_whole, read_json
from decant.serving.token_template import Tokens, TokenTemplate

EXPECTED_TEXTS = {1: "a text", 2: 'a pair of texts, {"text": ..., "text_pair": ...}'}
"""What an input should be, by its number of texts."""
FIRST_WINDOW = 32
"""Characters of a long text that are tokenized first, for each token that is kept: most texts have 4 to 6."""
NO_LIMIT = 2**31
"""transformers writes 1e30 as the length of a tokenizer that keeps all tokens."""


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
        max_length, self.side = truncation(self.tokenizer, file, settings)
        self.templates = [TokenTemplate(self.tokenizer, texts, max_length, self.side) for texts in (1, 2)]
        self.pad = self.tokenizer.token_to_id(pad or "") or 0
        added_tokens = self.tokenizer.get_added_tokens_decoder().values()
        self.margin = 1 + max((len(token.content) for token in added_tokens), default=0)

    def encode(self, inputs: Sequence[object], check: Check = no_check) -> list[Tokens]:
        """The tokens of every input."""
        items = []
        for texts in self._token_ids(self._texts(i, value) for i, value in enumerate(inputs)):
            check()
            items.append(self.templates[len(texts) - 1].fill(texts))
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

    def _texts(self, position: int, value: object) -> tuple[str, ...]:
        """The checked texts of an input; a long one without the part that no kept token comes from."""
        texts = (value,) if isinstance(value, str) else text_pair(value)
        if texts is None or not all(isinstance(t, str) for t in texts) or len(texts) not in self.texts_per_input:
            expected = " or ".join(EXPECTED_TEXTS[count] for count in self.texts_per_input)
            raise BadInput(position, f"{describe(value)}, expected {expected}")
        if not all(map(is_valid_unicode, texts)):
            raise BadInput(position, "a text with half of a surrogate pair, expected Unicode characters")
        # of a pair, the longer text loses more tokens: their whole lengths matter
        texts = texts if len(texts) == 2 else (self._shortened(texts[0]),)
        if (length := max(map(len, texts))) > MAX_TOKENIZED:
            expected = f"expected at most {MAX_TOKENIZED:,} before the last token that the network reads"
            raise BadInput(position, f"a text of {length:,} characters, {expected}")
        return texts

    def _shortened(self, text: str) -> str:
        """A start of the text with the same first tokens; the text itself if there is none in `MAX_TOKENIZED`."""
        room = self.templates[0].room
        if room is None or self.side != "right":
            return text
        length = FIRST_WINDOW * (room + self.margin)
        while length < min(len(text), MAX_TOKENIZED):
            if self._has_final_tokens(text[:length], room):
                return text[:length]
            length *= 4
        start = text[:MAX_TOKENIZED]
        return start if len(text) > MAX_TOKENIZED and self._has_final_tokens(start, room) else text

    def _has_final_tokens(self, start: str, count: int) -> bool:
        """Whether nothing after the start of a text can change its first `count` tokens.

        It could change those of the last word, and those of an added token, such as [SEP], that is cut in two.
        """
        encoding = self.tokenizer.encode(start, add_special_tokens=False)
        if len(encoding) <= count:
            return False
        last_word, end = encoding.word_ids[count - 1], max(end for _, end in encoding.offsets[:count])
        return last_word != encoding.word_ids[-1] and end <= len(start) - self.margin

    def _token_ids(self, inputs: Iterable[tuple[str, ...]]) -> Iterator[list[list[int]]]:
        """The token ids of the texts of each input."""
        for part in parts(inputs, MAX_TOKENIZED):
            encodings = iter(self.tokenizer.encode_batch_fast(list(chain(*part)), add_special_tokens=False))
            yield from ([next(encodings).ids for _ in texts] for texts in part)


def parts(inputs: Iterable[tuple[str, ...]], characters: int) -> Iterator[list[tuple[str, ...]]]:
    """The texts of inputs in parts that end once they have so many characters."""
    part: list[tuple[str, ...]] = []
    room = characters
    for texts in inputs:
        part.append(texts)
        room -= sum(map(len, texts))
        if room <= 0:
            yield part
            part, room = [], characters
    if part:
        yield part


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


def truncation(tokenizer: Tokenizer, file: Path, settings: Mapping[str, Any]) -> tuple[int | None, str]:
    """The number of tokens that tokenizer_config.json keeps (None: all), and the side where a text is cut.

    Raises:
        UserError: a length that leaves no room for a token, an unknown side.
    """
    max_length, side = settings.get("model_max_length"), settings.get("truncation_side", "right")
    special = tokenizer.num_special_tokens_to_add(is_pair=True)
    valid = max_length is None or is_whole(max_length, special + 1, float("inf"))
    check_settings(
        file,
        settings,
        model_max_length=(valid, f"a whole number above {special}"),
        truncation_side=(side in ("left", "right"), "left or right"),
    )
    return (int(max_length) if max_length is not None and max_length < NO_LIMIT else None), side


def text_pair(value: object) -> tuple[Any, ...] | None:
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
