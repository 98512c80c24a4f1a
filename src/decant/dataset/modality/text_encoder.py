"""Batches of tokens for a network that reads texts or pairs of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Encoder, PredictFn
from decant.dataset.modality.tfidf import are_pairs

PADDED_LENGTHS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Batches are padded to one of these lengths, so that few different shapes occur."""
NETWORK_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""The tensors of a batch that go to the network, if the batch has them."""


class TextEncoder(Encoder):
    """Tokens, truncated to `max_length` (default: the tokenizer's); of a pair, the longer text is truncated first."""

    def __init__(self, folder: Path, max_length: int | None) -> None:
        if (folder / "preprocessor_config.json").exists():
            raise UserError(f"{folder} holds an image model, but the data are texts; choose backbones for texts")
        self.processor = load_tokenizer(folder)
        if max_length is None:
            return
        positions = getattr(AutoConfig.from_pretrained(folder), "max_position_embeddings", max_length)
        if max_length > positions:
            raise UserError(f"max_length is {max_length}, but {folder} has only {positions} positions; lower it")
        self.processor.model_max_length = max_length

    def encode(self, frame: pd.DataFrame) -> list[Any]:
        """Lists of T tokens; for pairs, if the tokenizer numbers the texts, (T, 2): token, number of its text."""
        tokens = self.processor(*(frame[c].tolist() for c in text_columns(frame)), truncation=True)
        if "pair" not in frame or "token_type_ids" not in tokens:
            return list(tokens["input_ids"])
        rows = zip(tokens["input_ids"], tokens["token_type_ids"], strict=True)
        return [np.array(row, np.int32).T for row in rows]

    def length(self, item: Any) -> int:
        """Number of tokens."""
        return len(item)

    def stack(self, items: Sequence[Any]) -> Batch:
        """input_ids, attention_mask and, for pairs, token_type_ids (B, T).

        T is the first of `PADDED_LENGTHS` that holds the longest input.
        """
        longest = max(map(len, items))
        width = next((n for n in PADDED_LENGTHS if n >= longest), longest)
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
        return {k: batch[k] for k in NETWORK_INPUTS if k in batch}

    def predict_fn(self, network: PreTrainedModel) -> PredictFn:
        """See `Encoder.predict_fn`."""

        @torch.inference_mode()
        def predict(texts: Sequence[object]) -> torch.Tensor:
            columns = list(map(list, zip(*texts, strict=True))) if are_pairs(texts) else [list(texts)]
            options = {} if len(columns) == 2 else {"return_token_type_ids": False}
            tokens = self.processor(*columns, padding=True, truncation=True, return_tensors="pt", **options)
            return network(**self.inputs(tokens)).logits

        return predict


def text_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a table that hold the texts of a row."""
    return [c for c in ("input", "pair") if c in frame]


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model directory.

    Raises:
        UserError: it is damaged or missing; transformers would return an empty one instead.
    """
    # not AutoProcessor, which returns the image processor of some architectures
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the library raises no class of its own
        raise UserError(f"the tokenizer in {folder} cannot be read: {error}; get it again, or: dvc repro") from error
    names = sorted({"tokenizer.json", *tokenizer.vocab_files_names.values()})
    if not any((folder / name).is_file() for name in names):
        raise UserError(
            f"no tokenizer in {folder}, expected one of {', '.join(names)}; put it there, or run: dvc repro"
        )
    return tokenizer
