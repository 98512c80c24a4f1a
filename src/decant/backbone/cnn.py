"""Word vectors, convolutions over neighbours, the largest response of each filter, linear: the smallest student.

Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014, arXiv:1408.5882. The head also reads the
mean of the word vectors, a bag of words (Iyyer et al. 2015); without filters it reads nothing else.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from decant.backbone.origin import Origin
from decant.backbone.pretrained import from_pretrained
from decant.backbone.word_vectors import principal_components, read_word_vectors
from decant.core.errors import require


class CNNConfig(PretrainedConfig):
    """Sizes of the network; `filters`: {width in tokens: number of filters}."""

    model_type = "cnn"

    def __init__(
        self,
        vocab_size: int = 1,
        embedding_size: int = 64,
        filters: dict[str, int] | None = None,
        dropout: float = 0.3,
        **rest: object,
    ) -> None:
        super().__init__(**rest)
        self.vocab_size, self.embedding_size, self.dropout = vocab_size, embedding_size, dropout
        self.filters = filters or {}
        self.architecture_module = __name__  # models.directory imports it: transformers does not know it


class CNNForSequenceClassification(PreTrainedModel):
    """A convolutional network over word vectors."""

    config_class = CNNConfig

    def __init__(self, config: CNNConfig) -> None:
        super().__init__(config)
        size = config.embedding_size
        self.embedding = nn.Embedding(config.vocab_size, size)
        filters = sorted(config.filters.items())
        self.convolutions = nn.ModuleList(nn.Conv1d(size, n, int(w), padding=int(w) // 2) for w, n in filters)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(size + sum(config.filters.values()), config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Embedding, nn.Conv1d, nn.Linear)):
            module.reset_parameters()

    def get_input_embeddings(self) -> nn.Embedding:
        """See `PreTrainedModel`."""
        return self.embedding

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: object) -> SequenceClassifierOutput:
        """Logits (B, C) of tokens (B, T); padding does not change them."""
        mask = attention_mask[:, None].to(self.embedding.weight.dtype)  # (B, 1, T)
        words = self.dropout(self.embedding(input_ids)).transpose(1, 2) * mask
        features = [words.sum(2) / mask.sum(2).clamp(min=1)]
        for layer in self.convolutions:
            # wide filters also respond to the zeros around a text: those responses are masked
            features.append((F.relu(layer(words))[:, :, : mask.shape[2]] * mask).amax(2))
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(torch.cat(features, dim=1))))


AutoConfig.register("cnn", CNNConfig)
AutoModelForSequenceClassification.register(CNNConfig, CNNForSequenceClassification)


@dataclass(kw_only=True)
class CNN(Origin):
    """A convolutional network with the tokenizer of the origin and its word vectors, reduced to `embedding_size`."""

    has_states = False
    embedding_size: int
    filters: dict[int, int]
    """{width in tokens: number of filters}; {}: only the bag of words."""
    dropout: float
    sha256: str | None = None
    """Expected digest of model.safetensors, whose word vectors are used; null: none are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = all(width > 0 and width % 2 and count > 0 for width, count in self.filters.items())
        require(self, filters=(valid, "numbers of filters by width, and odd widths"))

    def has_weights(self) -> bool:
        """See `Backbone.has_weights`."""
        return self.sha256 is not None

    def write(self, folder: Path) -> dict[str, Any]:
        """See `Backbone.write`."""
        source = self.locate(["*.json", "*.txt", "*.model", "model.safetensors"])
        tokenizer = from_pretrained(AutoTokenizer, source)
        tokenizer.save_pretrained(folder)
        CNNConfig(
            vocab_size=len(tokenizer),
            embedding_size=self.embedding_size,
            filters={str(width): count for width, count in self.filters.items()},
            dropout=self.dropout,
            pad_token_id=tokenizer.pad_token_id,
        ).save_pretrained(folder)
        if self.sha256 is None:
            return {"origin": f"{self.origin()}, tokenizer alone"}
        self.verified_digest(source, self.sha256)
        weights = {"embedding.weight": principal_components(read_word_vectors(source), self.embedding_size)}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return {"origin": f"{self.origin()}, word vectors alone", "sha256": self.sha256}
