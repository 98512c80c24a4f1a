"""What becomes of inputs before a network sees them, on a tokenizer of seven words; see also test_predictor.py."""

import base64
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from support.model_directories import picture
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from decant.core.errors import UserError
from decant.serving.image_preprocessing import ImagePreprocessor, file_content
from decant.serving.preprocessing import BadInput, describe
from decant.serving.text_preprocessing import TextPreprocessor, text_pair

WORDS = ["<unk>", "<pad>", "where", "is", "my", "new", "card"]


def preprocessor(folder: Path, token_types: bool = False, **settings: object) -> TextPreprocessor:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>", **settings}))
    return TextPreprocessor(folder, token_types, (1, 2))


def tokens(preprocessor: TextPreprocessor, text: str | tuple[str, str]) -> list[str]:
    return [WORDS[i] for i in preprocessor.encode([text])[0].ids]


def test_a_batch_is_padded_on_the_right_and_the_mask_says_where(tmp_path: Path) -> None:
    given = preprocessor(tmp_path)
    arrays = given.collate(given.encode(["where is my card", "card"]))
    assert arrays["input_ids"].tolist() == [[2, 3, 4, 6], [6, 1, 1, 1]]
    assert arrays["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert {name: array.dtype for name, array in arrays.items()} == {
        "input_ids": np.int64,
        "attention_mask": np.int64,
    }


def test_a_network_that_tells_texts_apart_gets_their_numbers(tmp_path: Path) -> None:
    given = preprocessor(tmp_path, token_types=True)
    arrays = given.collate(given.encode([("where is", "card"), "my"]))
    assert arrays["token_type_ids"].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_the_pad_token_may_be_described_in_full(tmp_path: Path) -> None:
    given = preprocessor(tmp_path, pad_token={"content": "<pad>", "special": True})
    assert given.collate(given.encode(["my card", "my"]))["input_ids"][1].tolist() == [4, 1]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model_max_length": 2}, ["where", "is"]),
        ({"model_max_length": 2, "truncation_side": "left"}, ["my", "card"]),
        ({"model_max_length": int(1e30)}, ["where", "is", "my", "card"]),  # what transformers writes for "no limit"
        ({}, ["where", "is", "my", "card"]),
    ],
)
def test_a_text_is_cut_at_the_length_and_the_side_of_the_tokenizer(
    settings: dict, expected: list[str], tmp_path: Path
) -> None:
    assert tokens(preprocessor(tmp_path, **settings), "where is my card") == expected


def test_of_a_pair_the_longer_text_is_cut_first(tmp_path: Path) -> None:
    given = preprocessor(tmp_path, model_max_length=3)
    assert tokens(given, ("where is my new", "card")) == ["where", "is", "card"]


def test_texts_of_similar_length_share_a_batch(tmp_path: Path) -> None:
    given = preprocessor(tmp_path)
    assert given.batch_order(given.encode(["my new card", "my", "new card", "card"])) == [1, 3, 2, 0]


@pytest.mark.parametrize("text", ["a\ud800", ("my", "\udfff")])
def test_half_of_a_surrogate_pair_is_named_by_its_position(text: object, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="half of a surrogate pair") as caught:
        preprocessor(tmp_path).encode(["card", text])
    assert caught.value.position == 1


@pytest.mark.parametrize("damaged", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [None, "{"])
def test_a_damaged_file_is_named_with_what_was_expected(damaged: str, content: str | None, tmp_path: Path) -> None:
    preprocessor(tmp_path)
    if content is None:
        (tmp_path / damaged).unlink()
    else:
        (tmp_path / damaged).write_text(content)
    with pytest.raises(UserError, match=rf"{damaged} cannot be read .*; expected a model directory"):
        TextPreprocessor(tmp_path, False, (1,))


@pytest.mark.parametrize(
    ("value", "pair"),
    [
        ({"text": "a", "text_pair": "b"}, ("a", "b")),
        ({"text": "a", "text_pair": "b", "id": 7}, None),
        (["a", "b"], ("a", "b")),
        (("a", "b"), ("a", "b")),
        ({"text": "a"}, None),
        (["a", "b", "c"], None),
        (7, None),
    ],
)
def test_a_pair_is_a_mapping_or_a_list_of_two(value: object, pair: object) -> None:
    assert text_pair(value) == pair


@pytest.mark.parametrize(
    ("value", "description"),
    [
        (7, "7 (int)"),
        ("a" * 90, f"'{'a' * 56}... (str)"),
        (b"\x89PNG", "bytes"),
        (PIL.Image.new("L", (1, 1)), "an image"),
        ({"a": 1, "b": b"x"}, "a mapping of 'a' (int), 'b' (bytes)"),
        ({}, "a mapping of nothing"),
    ],
)
def test_a_message_shows_little_of_an_input_and_no_bytes(value: object, description: str) -> None:
    assert describe(value) == description


def test_base64_is_decoded_with_or_without_line_ends_and_files_stay_as_they_are() -> None:
    image = picture()
    encoded = base64.encodebytes(image)
    assert b"\n" in encoded.strip()
    for value in (image, encoded, encoded.decode(), base64.b64encode(image)):
        assert file_content(value) == image
    assert file_content("no base64!") == b"no base64!"


def test_pixels_are_rescaled_and_normalised_channel_by_channel(tmp_path: Path) -> None:
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 0.125]
    settings = {"stored_size": 4, "crop_size": {"height": 6}, "rescale_factor": 1 / 255}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**settings, "image_mean": mean, "image_std": std}))
    given = ImagePreprocessor(tmp_path)
    images = [PIL.Image.new("RGB", (9, 5), (255, 51, 0)), PIL.Image.new("L", (4, 4), 102)]
    pixels = given.collate(given.encode(images))["pixel_values"]
    assert (pixels.shape, pixels.dtype) == ((2, 3, 6, 6), np.float32)
    for image, shares in zip(pixels, ([1.0, 0.2, 0.0], [0.4] * 3), strict=True):
        by_hand = (np.array(shares) - mean) / np.array(std)
        assert image == pytest.approx(np.broadcast_to(by_hand[:, None, None], (3, 6, 6)), abs=1e-5)
