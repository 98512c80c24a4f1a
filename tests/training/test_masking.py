"""Which tokens are masked, and what replaces them."""

from typing import Any

import pytest
import torch
from support.source_corpus import MINILM, TEXTS
from transformers import AutoTokenizer

from decant.backbone.huggingface import HuggingFace
from decant.core.errors import UserError
from decant.training.masking import Masking

Batch = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(HuggingFace(package=MINILM, pretrained=False).locate(["*.json", "*.txt"]))


def tokens(tokenizer: Any, texts: list[str]) -> Batch:
    return dict(tokenizer(texts, padding=True, return_tensors="pt"))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_each_text_has_its_share_of_masked_tokens_and_at_least_one(rate: float, tokenizer: Any) -> None:
    batch = tokens(tokenizer, [" ".join(["parcel"] * n) for n in range(1, 41)])
    masked = Masking(tokenizer, rate).masked(batch, seeded())["masked"]
    assert masked.sum(1).tolist() == [max(1, round(rate * n)) for n in range(1, 41)]


def test_of_the_masked_tokens_eight_tenths_are_the_mask_one_tenth_random_and_one_tenth_unchanged(
    tokenizer: Any,
) -> None:
    batch = Masking(tokenizer, 0.5).masked(tokens(tokenizer, ["card money order house water " * 20] * 200), seeded())
    replacement, original = batch["input_ids"][batch["masked"]], batch["target"]
    assert len(original) == 200 * 50
    mask = (replacement == tokenizer.mask_token_id).double().mean()
    unchanged = (replacement == original).double().mean()
    assert abs(mask - 0.8) < 0.015  # more than three standard errors
    assert abs(unchanged - 0.1) < 0.01
    assert len(replacement.unique()) > 500


def test_only_masked_tokens_change_and_the_target_holds_the_originals(tokenizer: Any) -> None:
    original = tokens(tokenizer, TEXTS)
    batch = Masking(tokenizer, 0.3).masked(original, seeded())
    masked = batch["masked"]
    assert torch.equal(batch["input_ids"][~masked], original["input_ids"][~masked])
    assert torch.equal(batch["target"], original["input_ids"][masked])
    assert batch["attention_mask"] is original["attention_mask"]


def test_special_tokens_are_never_masked(tokenizer: Any) -> None:
    batch = dict(tokenizer(["a card", "\u2603 card"], ["b", "a longer one"], padding=True, return_tensors="pt"))
    assert (batch["input_ids"] == tokenizer.unk_token_id).any()
    special = torch.isin(batch["input_ids"], torch.tensor(tokenizer.all_special_ids))
    assert torch.equal(Masking(tokenizer, 0.99).masked(batch)["masked"], ~special)


def test_a_text_of_special_tokens_alone_has_no_masked_token(tokenizer: Any) -> None:
    masked = Masking(tokenizer, 0.15).masked(tokens(tokenizer, ["", "card"]))["masked"]
    assert masked.sum(1).tolist() == [0, 1]


def test_a_seed_determines_the_masks_and_without_one_they_differ_each_time(tokenizer: Any) -> None:
    masking, batch = Masking(tokenizer, 0.15), tokens(tokenizer, TEXTS)
    first, second = (masking.masked(batch, seeded(7)) for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(masking.masked(batch)["masked"], masking.masked(batch)["masked"])


def test_a_tokenizer_without_a_mask_token_is_refused(tokenizer: Any) -> None:
    without_mask = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    without_mask.mask_token = None
    with pytest.raises(UserError, match="has no mask token"):
        Masking(without_mask, 0.15)
