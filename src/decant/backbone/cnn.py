"""Word vectors, convolutions over neighbours, the largest response of each filter, linear: the smallest student.

Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014, arXiv:1408.5882. Beside the responses the
average of the vectors is read, a bag of words (Iyyer et al. 2015); with no filters it is the bag alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from decant.backbone.origin import Origin, loaded
from decant.core.errors import UserError, require


class CNNConfig(PretrainedConfig):
    """Sizes of the network."""

    model_type = "cnn"

    def __init__(
        self,
        vocab_size: int = 1,
        embedding_size: int = 64,
        filters: dict[str, int] | None = None,
        dropout: float = 0.3,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.vocab_size, self.embedding_size, self.dropout = vocab_size, embedding_size, dropout
        self.filters = filters or {}
        self.architecture_module = __name__  # imported by model.load: transformers does not know this one


class CNNForSequenceClassification(PreTrainedModel):
    """`filters`: how many of each width."""

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

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> SequenceClassifierOutput:
        """Logits (B, C) of tokens (B, T); padding does not change them."""
        mask = attention_mask[:, None].to(self.embedding.weight.dtype)  # (B, 1, T)
        words = self.dropout(self.embedding(input_ids)).transpose(1, 2) * mask
        found = [words.sum(2) / mask.sum(2).clamp(min=1)]
        for layer in self.convolutions:
            # a wide window sees the empty space around a text as padding; responses there are left out
            found.append((F.relu(layer(words))[:, :, : mask.shape[2]] * mask).amax(2))
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(torch.cat(found, dim=1))))


AutoConfig.register("cnn", CNNConfig)
AutoModelForSequenceClassification.register(CNNConfig, CNNForSequenceClassification)


@dataclass(kw_only=True)
class CNN(Origin):
    """A convolutional net over the tokenizer of the origin, and its word vectors, brought down to `embedding_size`."""

    states = False
    embedding_size: int
    filters: dict[int, int]
    """How many of each width, in tokens; {}: the bag of words alone."""
    dropout: float
    sha256: str | None = None
    """Expected digest of model.safetensors, whose word vectors are taken; null: none are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        good = all(w > 0 and w % 2 and n > 0 for w, n in self.filters.items())
        require(self, filters=(good, "numbers of filters by width, and odd widths"))

    def has_weights(self) -> bool:
        """See `Backbone.has_weights`."""
        return self.sha256 is not None

    def write(self, folder: Path) -> dict[str, Any]:
        """See `Backbone.write`."""
        source = self.locate(["*.json", "*.txt", "*.model", "model.safetensors"])
        tokenizer = loaded(AutoTokenizer, source)
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
        self.checked(source, self.sha256)
        weights = {"embedding.weight": reduced(vectors(source), self.embedding_size)}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return {"origin": f"{self.origin()}, word vectors alone", "sha256": self.sha256}


def vectors(folder: Path) -> torch.Tensor:
    """The word vectors (V, H) of a model directory.

    Raises:
        UserError: there is not a single table of them.
    """
    file = folder / "model.safetensors"
    tables = [v for k, v in load_file(file).items() if k.endswith("word_embeddings.weight")]
    if len(tables) != 1:
        raise UserError(f"{file.name} has {len(tables)} tables of word vectors, expected one; leave out sha256:")
    return tables[0]


def reduced(table: torch.Tensor, size: int) -> torch.Tensor:
    """The `size` directions (V, size) in which the rows of a table (V, H) differ most, each row of length about 1."""
    centred = table.double() - table.double().mean(0)
    _, _, directions = torch.linalg.svd(centred.T @ centred)
    found = centred @ directions[:size].T
    return (found / found.norm(dim=1).mean()).float().contiguous()
