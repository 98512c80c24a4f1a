"""Texts, or pairs of texts: tokens in batches of like lengths; the linear baseline reads TF-IDF."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import TransformerMixin
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from decant.core.errors import UserError
from decant.dataset.modality import Answer, Batch, Encoder, Modality
from decant.dataset.modality.tfidf import Tfidf, paired

LENGTHS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Batches are padded to one of these, so that few distinct shapes occur."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a network is given of these, where they are there."""


class Text(Modality):
    """Text as it came; duplicates are found without case, Unicode form and white space.

    A table with a column `pair` holds two texts a row. Their order counts: (a, b) and (b, a) are two inputs.
    """

    name = "text"
    linear_features = "TF-IDF"

    def read(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
        """See `Modality.read`; every value is a text."""
        texts = {c: frame[c].astype(object).mask(frame[c].isna(), "").map(str) for c in columns(frame)}
        return frame.assign(**texts), {}

    def keys(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """See `Modality.keys`; a pair is empty if one of its texts is."""
        rows = zip(*(frame[c].map(plain) for c in columns(frame)), strict=True)
        # no plain text holds a line break
        return pd.Series(["\n".join(texts) if all(texts) else "" for texts in rows], frame.index, dtype=object)

    def shown(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """See `Modality.shown`."""
        return frame["input"] + " | " + frame["pair"] if "pair" in frame else frame["input"]

    def describe(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Lengths in words, of both texts of a pair together."""
        words = [sum(len(t.split()) for t in texts) for texts in zip(*(frame[c] for c in columns(frame)), strict=True)]
        return {"words": {f"p{q}": float(np.percentile(words, q)) for q in (0, 50, 95, 100)}}

    def raw(self, frame: pd.DataFrame) -> list[Any]:
        """Texts, or pairs (a, b)."""
        return list(zip(frame["input"], frame["pair"], strict=True)) if "pair" in frame else list(frame["input"])

    def sent(self, frame: pd.DataFrame) -> list[Any]:
        """Texts; or, as the pipelines of transformers take pairs, {"text": a, "text_pair": b}."""
        raw = self.raw(frame)
        return [{"text": a, "text_pair": b} for a, b in raw] if "pair" in frame else raw

    def features(self) -> TransformerMixin:
        """See `Tfidf`."""
        return Tfidf()

    def auto(self) -> Any:
        """See `Modality.auto`."""
        return AutoModelForSequenceClassification

    def encoder(self, folder: Path, max_length: int | None = None) -> "TextEncoder":
        """See `Modality.encoder`."""
        return TextEncoder(folder, max_length)


def columns(frame: pd.DataFrame) -> list[str]:
    """The columns that hold the texts of a row."""
    return [c for c in ("input", "pair") if c in frame]


def plain(text: str) -> str:
    """Without case, Unicode form and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def tokenizer(folder: Path) -> Any:
    """That of a model directory.

    Raises:
        UserError: it is damaged, or there is none; transformers would make an empty one.
    """
    try:
        found = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # of no class of its own
        raise UserError(f"the tokenizer in {folder} cannot be read: {error}; get it again, or: dvc repro") from error
    names = sorted({"tokenizer.json", *found.vocab_files_names.values()})
    if not any((folder / name).is_file() for name in names):
        raise UserError(
            f"no tokenizer in {folder}, expected one of {', '.join(names)}; put it there, or run: dvc repro"
        )
    return found


class TextEncoder(Encoder):
    """Tokens, cut off at `max_length` (default: what the tokenizer says); of a pair, the longer text is cut first."""

    def __init__(self, folder: Path, max_length: int | None) -> None:
        if (folder / "preprocessor_config.json").exists():
            raise UserError(f"{folder} holds an image model, but the data are texts; choose backbones for texts")
        # by name, else transformers offers the image processor it finds for some architectures
        self.processor = tokenizer(folder)
        if max_length is None:
            return
        positions = getattr(AutoConfig.from_pretrained(folder), "max_position_embeddings", max_length)
        if max_length > positions:
            raise UserError(f"max_length is {max_length}, but {folder} knows {positions} positions; lower it")
        self.processor.model_max_length = max_length

    def encode(self, frame: pd.DataFrame) -> list[Any]:
        """Lists of T tokens; where the tokenizer tells the texts of a pair apart, (T, 2): token, number of its text."""
        tokens = self.processor(*(frame[c].tolist() for c in columns(frame)), truncation=True)
        if "pair" not in frame or "token_type_ids" not in tokens:
            return list(tokens["input_ids"])
        both = zip(tokens["input_ids"], tokens["token_type_ids"], strict=True)
        return [np.array(row, np.int32).T for row in both]

    def length(self, item: Any) -> int:
        """Tokens."""
        return len(item)

    def stack(self, items: Sequence[Any]) -> Batch:
        """input_ids, attention_mask and, of pairs, token_type_ids (B, T).

        T is the first of `LENGTHS` that holds the longest.
        """
        longest = max(map(len, items))
        width = next((n for n in LENGTHS if n >= longest), longest)
        ids = torch.full((len(items), width), self.processor.pad_token_id)
        mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
        for i, item in enumerate(items):
            tokens = torch.as_tensor(item).view(len(item), -1)
            ids[i, : len(item)] = tokens[:, 0]
            types[i, : len(item)] = tokens[:, 1] if tokens.shape[1] == 2 else 0
            mask[i, : len(item)] = 1
        batch = {"input_ids": ids, "attention_mask": mask}
        return batch | {"token_type_ids": types} if np.ndim(items[0]) == 2 else batch

    def inputs(self, batch: Batch) -> Batch:
        """See `Encoder.inputs`."""
        return {k: batch[k] for k in INPUTS if k in batch}

    def answer(self, network: PreTrainedModel) -> Answer:
        """See `Encoder.answer`."""

        @torch.inference_mode()
        def answer(texts: Sequence[Any]) -> torch.Tensor:
            sides = list(map(list, zip(*texts, strict=True))) if paired(texts) else [list(texts)]
            options = {} if len(sides) == 2 else {"return_token_type_ids": False}
            tokens = self.processor(*sides, padding=True, truncation=True, return_tensors="pt", **options)
            return network(**self.inputs(tokens)).logits

        return answer
