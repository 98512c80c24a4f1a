"""Two texts through one encoder, apart: their averages are compared (Reimers & Gurevych 2019, arXiv:1908.10084).

"Sentence-BERT". A sentence encoder is pretrained like this; joined to one sequence, pairs are new to it. A network of
this kind is loaded by decant alone. Nothing but transformers is imported here: a server loads this file.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from decant.core.errors import UserError


class SiameseConfig(PretrainedConfig):
    """The encoder's configuration, and what the cosine is multiplied with at the start."""

    model_type = "siamese"

    def __init__(self, body: dict[str, Any] | None = None, scale: float = 1.0, **rest: Any) -> None:
        super().__init__(**rest)
        self.body, self.scale = body or {"model_type": "bert"}, scale
        self.max_position_embeddings = self.body.get("max_position_embeddings", 512)
        self.architecture_module = __name__  # imported by model.load: transformers does not know this one


class SiameseForSequenceClassification(PreTrainedModel):
    """Logits from |u - v| and u v, where u and v are the averages over the tokens of each text, of length sqrt(H)."""

    config_class = SiameseConfig
    base_model_prefix = "backbone"

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__(config)
        body = dict(config.body)
        self.backbone = AutoModel.from_config(AutoConfig.for_model(body.pop("model_type"), **body))
        self.backbone.pooler = None  # weights that are never used stop DDP
        self.classifier = nn.Linear(2 * self.backbone.config.hidden_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """A head whose logits start as a multiple of the cosine, which a sentence encoder is pretrained for."""
        if module is self.classifier:
            size = self.backbone.config.hidden_size
            nn.init.normal_(module.weight, std=0.01 / size**0.5)
            module.weight.data[:, size:] += self.config.scale / size
            nn.init.zeros_(module.bias)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits (B, C) of pairs, joined as the tokenizer joins them; `token_type_ids` (B, T) tells them apart."""
        # what an exporter sees has no values to look at
        if token_type_ids is None or not (torch.compiler.is_exporting() or (token_type_ids == 1).any(1).all()):
            raise UserError(
                "a siamese backbone takes pairs of texts, told apart by token types; found a text without a "
                "second one: choose another backbone, or data of pairs"
            )
        ids, mask = apart(input_ids, attention_mask, token_type_ids)
        states = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        counted = mask[:, :, None].to(states.dtype)
        means = F.normalize((states * counted).sum(1).float(), dim=1).mul(states.shape[2] ** 0.5)
        size = input_ids.shape[0]  # len() and chunk() would fix the size of an exported batch
        u, v = means[:size], means[size:]
        return SequenceClassifierOutput(logits=self.classifier(torch.cat([(u - v).abs(), u * v], dim=1)))


def apart(ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask (2B, S): first all first texts, then all second ones, each as if it were alone."""
    first, second = mask * (types == 0), mask * (types == 1)
    place = torch.arange(ids.shape[1], device=ids.device)
    order = (second * ids.shape[1] - place).argsort(dim=1, descending=True)  # to the front; ONNX has no stable sort
    start = torch.ones_like(ids[:, :1])
    other = torch.cat([ids[:, :1], ids.gather(1, order)], dim=1), torch.cat([start, second.gather(1, order)], dim=1)
    width = torch.maximum(first.sum(1).max(), other[1].sum(1).max()).item()
    if torch.compiler.is_exporting():  # else an open size may be taken for 0, 1 or too much
        torch._check(width >= 2)  # type: ignore[no-untyped-call]
        torch._check(width <= ids.shape[1])  # type: ignore[no-untyped-call]
    return torch.cat([ids[:, :width], other[0][:, :width]]), torch.cat([first[:, :width], other[1][:, :width]])


AutoConfig.register("siamese", SiameseConfig)
AutoModelForSequenceClassification.register(SiameseConfig, SiameseForSequenceClassification)
