from typing import Any

import pytest
import torch
from support.pretraining import MINILM, TEXTS
from transformers import AutoTokenizer

from decant.backbone.huggingface import HuggingFace
from decant.core.errors import UserError
from decant.training.masking import Masking


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(HuggingFace(package=MINILM, pretrained=False).locate(["*.json", "*.txt"]))


def tokens_of(tokenizer: Any, texts: list[str]) -> dict[str, torch.Tensor]:
    return dict(tokenizer(texts, padding=True, return_tensors="pt"))


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_a_share_of_each_text_is_masked_and_at_least_one_token(rate: float, tokenizer: Any) -> None:
    tokens = tokens_of(tokenizer, [" ".join(["parcel"] * n) for n in range(1, 41)])
    batch = Masking(tokenizer, rate).masked(tokens, torch.Generator().manual_seed(0))
    assert batch["masked"].sum(1).tolist() == [max(1, round(rate * n)) for n in range(1, 41)]


def test_eight_tenths_become_the_mask_one_tenth_random_tokens_and_one_tenth_stays(tokenizer: Any) -> None:
    tokens = tokens_of(tokenizer, ["card money order house water " * 20] * 200)
    batch = Masking(tokenizer, 0.5).masked(tokens, torch.Generator().manual_seed(0))
    replaced, original = batch["input_ids"][batch["masked"]], batch["target"]
    assert len(original) == 200 * 50
    mask_share = (replaced == tokenizer.mask_token_id).double().mean()
    unchanged_share = (replaced == original).double().mean()
    assert abs(mask_share - 0.8) < 0.015  # more than three standard errors
    assert abs(unchanged_share - 0.1) < 0.01
    assert len(replaced.unique()) > 500


def test_other_tokens_do_not_change_and_the_targets_are_the_original_tokens(tokenizer: Any) -> None:
    tokens = tokens_of(tokenizer, TEXTS)
    batch = Masking(tokenizer, 0.3).masked(tokens, torch.Generator().manual_seed(0))
    assert torch.equal(batch["input_ids"][~batch["masked"]], tokens["input_ids"][~batch["masked"]])
    assert torch.equal(batch["target"], tokens["input_ids"][batch["masked"]])
    assert batch["attention_mask"] is tokens["attention_mask"]


def test_special_tokens_are_never_masked(tokenizer: Any) -> None:
    tokens = dict(tokenizer(["a card", "\u2603 card"], ["b", "a longer one"], padding=True, return_tensors="pt"))
    assert (tokens["input_ids"] == tokenizer.unk_token_id).any()
    masked = Masking(tokenizer, 0.99).masked(tokens)["masked"]
    special = torch.isin(tokens["input_ids"], torch.tensor(tokenizer.all_special_ids))
    assert torch.equal(masked, ~special)


def test_a_text_of_special_tokens_alone_has_no_mask(tokenizer: Any) -> None:
    batch = Masking(tokenizer, 0.15).masked(tokens_of(tokenizer, ["", "card"]))
    assert batch["masked"].sum(1).tolist() == [0, 1]


def test_equal_generators_give_equal_masks_and_without_one_they_differ(tokenizer: Any) -> None:
    masking, tokens = Masking(tokenizer, 0.15), tokens_of(tokenizer, TEXTS)
    first, second = (masking.masked(tokens, torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(masking.masked(tokens)["masked"], masking.masked(tokens)["masked"])


def test_a_tokenizer_without_a_mask_is_refused(tokenizer: Any) -> None:
    without_mask = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    without_mask.mask_token = None
    with pytest.raises(UserError, match="has no mask token"):
        Masking(without_mask, 0.15)
