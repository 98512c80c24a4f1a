"""A long text is cut before it is tokenized, and its tokens do not change."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from decant.serving import text_preprocessing
from decant.serving.preprocessing import BadInput
from decant.serving.text_preprocessing import TextPreprocessor
from decant.serving.token_template import TokenTemplate

LENGTH = 12
CHARACTERS = [
    "a",
    "b",
    "c",
    "ß",
    "é",
    "e\u0301",
    "\u200d",
    "日",
    "本",
    "\U0001f600",
    ".",
    "-",
    "'",
    "0",
    "##",
    "[",
    "]",
]
SPACES = [" ", "  ", "\n", "\t", "\u00a0", "\u3000"]


def word(draw: random.Random) -> str:
    return "".join(draw.choices(CHARACTERS, k=draw.choice([1, 3, 8, 90, 130])))


STRUCTURES: dict[str, Callable[[random.Random], str]] = {
    "words": lambda draw: "".join(word(draw) + draw.choice(SPACES) for _ in range(60)),
    "no white space": lambda draw: "".join(word(draw) for _ in range(60)),
    "one character": lambda draw: draw.choice(["x", "日", "\U0001f600", "."]) * draw.randrange(500, 4000),
    "white space": lambda draw: draw.choice(SPACES) * draw.randrange(500, 4000) + word(draw),
    "special tokens": lambda draw: "".join(draw.choice(["[SEP]", "[MASK]", "[CLS] ", "[S", "EP]"]) for _ in range(300)),
    "control characters": lambda draw: "\u200d\x00\x01" * draw.randrange(100, 1000) + word(draw) * 20,
}


@pytest.fixture(scope="module")
def wordpiece(texts: Path) -> TextPreprocessor:
    return with_tokenizer(TextPreprocessor(texts, False, (1,)), Tokenizer.from_file(str(texts / "tokenizer.json")))


@pytest.fixture(scope="module")
def byte_pairs(texts: Path) -> TextPreprocessor:
    """A tokenizer of bytes, as GPT-2 and RoBERTa have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    draw = random.Random(1)
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["[SEP]"], show_progress=False)
    tokenizer.train_from_iterator([STRUCTURES["words"](draw) for _ in range(20)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 0)]
    )
    return with_tokenizer(TextPreprocessor(texts, False, (1,)), tokenizer)


def with_tokenizer(preprocessor: TextPreprocessor, tokenizer: Tokenizer, side: str = "right") -> TextPreprocessor:
    """A preprocessor with another tokenizer, which keeps `LENGTH` tokens."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    preprocessor.tokenizer, preprocessor.side = tokenizer, side
    preprocessor.templates = [TokenTemplate(tokenizer, texts, LENGTH, side) for texts in (1, 2)]
    return preprocessor


def reference(tokenizer: Tokenizer, side: str = "right") -> Tokenizer:
    """A copy that truncates by itself."""
    copied = Tokenizer.from_str(tokenizer.to_str())
    copied.enable_truncation(LENGTH, strategy="longest_first", direction=side)
    return copied


@pytest.mark.parametrize("name", ["wordpiece", "byte_pairs"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_tokens_of_a_long_text_are_those_of_the_whole_text(
    name: str, structure: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_preprocessing, "FIRST_WINDOW", 1)  # cuts often, and near the last token
    preprocessor = request.getfixturevalue(name)
    draw = random.Random(structure)
    given = [STRUCTURES[structure](draw) for _ in range(60)]
    expected = [encoding.ids for encoding in reference(preprocessor.tokenizer).encode_batch_fast(given)]
    assert [item.ids.tolist() for item in preprocessor.encode(given)] == expected
    cut = sum(len(preprocessor._shortened(text)) < len(text) for text in given)
    assert cut or structure in ("one character", "white space", "control characters")


def test_a_text_of_millions_of_words_is_tokenized_at_once(wordpiece: TextPreprocessor) -> None:
    start = time.monotonic()
    (tokens,) = wordpiece.encode(["parcel " * 3_000_000])
    assert time.monotonic() - start < 1  # 20 seconds as a whole
    assert len(tokens.ids) == LENGTH


def test_a_text_that_would_have_to_be_tokenized_too_far_is_refused(
    wordpiece: TextPreprocessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_preprocessing, "MAX_TOKENIZED", 5000)
    assert len(wordpiece.encode(["x" * 5000])[0].ids) == 3  # one unknown word
    with pytest.raises(BadInput, match="a text of 5,001 characters, expected at most 5,000 before the last token"):
        wordpiece.encode(["x" * 5001])


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["wordpiece", "byte_pairs"])
def test_truncation_is_that_of_the_tokenizer(name: str, side: str, request: pytest.FixtureRequest, pairs: Path) -> None:
    """Which of two long texts keeps one token more depends on which is longer."""
    tokenizer = Tokenizer.from_str(request.getfixturevalue(name).tokenizer.to_str())
    preprocessor = with_tokenizer(TextPreprocessor(pairs, True, (1, 2)), tokenizer, side)
    lengths = (0, 1, 3, 4, 5, 6, 8, 9, 10, 20, 21)
    expected = reference(tokenizer, side)
    given = ["a " * m for m in lengths] + [("a " * m, "b " * n) for m in lengths for n in lengths]
    for value, item in zip(given, preprocessor.encode(given), strict=True):
        texts = (value,) if isinstance(value, str) else value
        encoding = expected.encode(*texts)
        assert (item.ids.tolist(), item.types.tolist()) == (encoding.ids, encoding.type_ids), value


def test_a_pair_of_long_texts_takes_no_longer_than_its_texts(pairs: Path) -> None:
    """The tokenizers library combines what it cuts off of one with what it cuts off of the other."""
    preprocessor = TextPreprocessor(pairs, True, (2,))
    start = time.monotonic()
    (tokens,) = preprocessor.encode([("a " * 20_000, "b " * 20_000)])
    assert time.monotonic() - start < 2  # of minutes
    assert len(tokens.ids) == 48


def test_many_long_texts_are_tokenized_in_parts(wordpiece: TextPreprocessor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_preprocessing, "MAX_TOKENIZED", 100)
    given = ["a " * n for n in range(50)]
    assert [len(item.ids) for item in wordpiece.encode(given)] == [min(n + 2, LENGTH) for n in range(50)]


def test_a_call_can_be_ended_between_texts(wordpiece: TextPreprocessor) -> None:
    def check() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        wordpiece.encode(["a"], check)
    assert isinstance(wordpiece.encode(["a"])[0].ids, np.ndarray)
