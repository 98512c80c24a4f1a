"""Embedding, LSTM, linear: the classic baseline, from scratch (Hochreiter & Schmidhuber 1997)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
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


class LSTMConfig(PretrainedConfig):
    """Sizes of the network."""

    model_type = "lstm"

    def __init__(
        self,
        vocab_size: int = 1,
        embedding_size: int = 128,
        hidden_size: int = 128,
        dropout: float = 0.3,
        **rest: object,
    ) -> None:
        super().__init__(**rest)
        self.vocab_size, self.embedding_size, self.hidden_size = vocab_size, embedding_size, hidden_size
        self.dropout = dropout
        self.architecture_module = __name__  # models.directory imports it: transformers does not know it


class LSTMForSequenceClassification(PreTrainedModel):
    """One bidirectional layer; the head reads the last state of each direction."""

    config_class = LSTMConfig

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.lstm = nn.LSTM(config.embedding_size, config.hidden_size, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Embedding, nn.LSTM, nn.Linear)):
            module.reset_parameters()

    def get_input_embeddings(self) -> nn.Embedding:
        """See `PreTrainedModel`."""
        return self.embedding

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: object) -> SequenceClassifierOutput:
        """Logits (B, C) of tokens (B, T); padding is on the right and does not change them."""
        embedded = self.dropout(self.embedding(input_ids))
        lengths = attention_mask.sum(1).clamp(min=1)
        if torch.compiler.is_exporting():
            hidden = self.last_states_onnx(embedded, lengths)
        else:
            packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
            _, (hidden, _) = self.lstm(packed)
        last = torch.cat([hidden[0], hidden[1]], dim=1)  # (B, 2H)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(last)))

    def last_states_onnx(self, embedded: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The last states (2, B, H), by ONNX's operator, which takes lengths; its exporter has no packed sequences."""
        time, size, hidden = embedded.shape[1], embedded.shape[0], self.config.hidden_size
        bias = torch.cat([self.onnx_gates("bias_ih"), self.onnx_gates("bias_hh")], dim=1)
        _, last, _ = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (embedded.transpose(0, 1), self.onnx_gates("weight_ih"), self.onnx_gates("weight_hh"), bias, lengths.int()),
            {"direction": "bidirectional", "hidden_size": hidden},
            dtypes=(embedded.dtype,) * 3,
            shapes=((time, 2, size, hidden), (2, size, hidden), (2, size, hidden)),
        )
        return last

    def onnx_gates(self, kind: str) -> torch.Tensor:
        """Weights of both directions (2, 4H, ...), with the gates in ONNX's order: input, output, forget, cell."""
        both = torch.stack([getattr(self.lstm, f"{kind}_l0{side}") for side in ("", "_reverse")])
        return both.reshape(2, 4, self.config.hidden_size, *both.shape[2:])[:, [0, 3, 1, 2]].flatten(1, 2)


AutoConfig.register("lstm", LSTMConfig)
AutoModelForSequenceClassification.register(LSTMConfig, LSTMForSequenceClassification)


@dataclass(kw_only=True)
class LSTM(Origin):
    """An LSTM with the tokenizer of the origin; it is trained from scratch."""

    has_states = False
    embedding_size: int
    hidden_size: int
    dropout: float

    def write(self, folder: Path) -> dict[str, Any]:
        """See `Backbone.write`."""
        tokenizer = from_pretrained(AutoTokenizer, self.locate(["*.json", "*.txt", "*.model"]))
        tokenizer.save_pretrained(folder)
        LSTMConfig(
            vocab_size=len(tokenizer),
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            dropout=self.dropout,
            pad_token_id=tokenizer.pad_token_id,
        ).save_pretrained(folder)
        return {"origin": f"{self.origin()}, tokenizer alone"}
