"""Texts, or pairs of texts; the linear baseline reads TF-IDF."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import TransformerMixin
from transformers import AutoModelForSequenceClassification

from decant.dataset.modality import Encoder, Modality
from decant.dataset.modality.text_encoder import TextEncoder, text_columns
from decant.dataset.modality.tfidf import Tfidf


class Text(Modality):
    """Texts, stored unchanged; case, Unicode form and white space are ignored when duplicates are searched.

    A table with a column `pair` holds pairs of texts. Their order counts: (a, b) and (b, a) are different inputs.
    """

    name = "text"
    baseline_features = "TF-IDF"

    def duplicate_keys(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """See `Modality.duplicate_keys`; a pair is empty if one of its texts is."""
        rows = zip(*(frame[c].map(normalised) for c in text_columns(frame)), strict=True)
        # a normalised text holds no line break
        return pd.Series(["\n".join(texts) if all(texts) else "" for texts in rows], frame.index, dtype=object)

    def display(self, frame: pd.DataFrame) -> "pd.Series[str]":
        """See `Modality.display`; the texts."""
        return frame["input"] + " | " + frame["pair"] if "pair" in frame else frame["input"]

    def describe(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Percentiles of the lengths in words; of a pair, of both texts together."""
        rows = zip(*(frame[c] for c in text_columns(frame)), strict=True)
        words = [sum(len(text.split()) for text in texts) for texts in rows]
        return {"words": {f"p{q}": float(np.percentile(words, q)) for q in (0, 50, 95, 100)}}

    def raw(self, frame: pd.DataFrame) -> list[Any]:
        """Texts, or pairs (a, b)."""
        return list(zip(frame["input"], frame["pair"], strict=True)) if "pair" in frame else list(frame["input"])

    def request_inputs(self, frame: pd.DataFrame) -> list[Any]:
        """Texts; or {"text": a, "text_pair": b}, as the pipelines of transformers take pairs."""
        raw = self.raw(frame)
        return [{"text": a, "text_pair": b} for a, b in raw] if "pair" in frame else raw

    def feature_extractor(self) -> TransformerMixin:
        """See `Tfidf`."""
        return Tfidf()

    def auto_model(self) -> Any:
        """See `Modality.auto_model`."""
        return AutoModelForSequenceClassification

    def encoder(self, folder: Path, max_length: int | None = None) -> Encoder:
        """See `Modality.encoder`."""
        return TextEncoder(folder, max_length)


def normalised(text: str) -> str:
    """`text` in one Unicode form, without case, with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
