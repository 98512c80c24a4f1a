"""Two texts separately through one encoder, whose means are compared (Reimers & Gurevych 2019, arXiv:1908.10084).

"Sentence-BERT". A sentence encoder is pretrained like this, and not on pairs joined to one sequence. decant has to be
installed to load such a network. This file imports little besides transformers, because a model server loads it.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from decant.core.errors import UserError


class SiameseConfig(PretrainedConfig):
    """The encoder's configuration, and the factor of the cosine in the untrained head."""

    model_type = "siamese"

    def __init__(self, body: dict[str, object] | None = None, scale: float = 1.0, **rest: object) -> None:
        super().__init__(**rest)
        self.body, self.scale = body or {"model_type": "bert"}, scale
        self.max_position_embeddings = self.body.get("max_position_embeddings", 512)
        self.architecture_module = __name__  # models.directory imports it: transformers does not know it


class SiameseForSequenceClassification(PreTrainedModel):
    """Logits from |u - v| and u v; u and v are the means over the tokens of each text, scaled to length sqrt(H)."""

    config_class = SiameseConfig
    base_model_prefix = "backbone"

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__(config)
        body = dict(config.body)
        self.backbone = AutoModel.from_config(AutoConfig.for_model(body.pop("model_type"), **body))
        self.backbone.pooler = None  # DDP stops if weights are never used
        self.classifier = nn.Linear(2 * self.backbone.config.hidden_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise the head so that its logits are a multiple of the cosine, as sentence encoders are trained."""
        if module is self.classifier:
            size = self.backbone.config.hidden_size
            nn.init.normal_(module.weight, std=0.01 / size**0.5)
            module.weight.data[:, size:] += self.config.scale / size
            nn.init.zeros_(module.bias)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits (B, C) of pairs, joined by the tokenizer; `token_type_ids` (B, T) are 1 in the second text."""
        # during export the tensors have no values to check
        if token_type_ids is None or not (torch.compiler.is_exporting() or (token_type_ids == 1).any(1).all()):
            raise UserError(
                "a siamese backbone takes pairs of texts, marked by token types; found a text without a second one: "
                "choose another backbone, or data of pairs"
            )
        ids, mask = separated(input_ids, attention_mask, token_type_ids)
        states = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].to(states.dtype)
        means = F.normalize((states * weights).sum(1).float(), dim=1).mul(states.shape[2] ** 0.5)
        size = input_ids.shape[0]  # len() and chunk() would fix the size of an exported batch
        u, v = means[:size], means[size:]
        return SequenceClassifierOutput(logits=self.classifier(torch.cat([(u - v).abs(), u * v], dim=1)))


def separated(ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask (2B, S): all first texts, then all second texts, each tokenised as a single text would be."""
    first_mask, second_mask = mask * (types == 0), mask * (types == 1)
    position = torch.arange(ids.shape[1], device=ids.device)
    # moves the second text to the front; ONNX has no stable sort
    order = (second_mask * ids.shape[1] - position).argsort(dim=1, descending=True)
    second_ids = torch.cat([ids[:, :1], ids.gather(1, order)], dim=1)  # with the start token of the pair
    second_mask = torch.cat([torch.ones_like(ids[:, :1]), second_mask.gather(1, order)], dim=1)
    width = torch.maximum(first_mask.sum(1).max(), second_mask.sum(1).max()).item()
    if torch.compiler.is_exporting():  # otherwise the exporter assumes that a dynamic size can be 0, 1 or too large
        torch._check(width >= 2)  # type: ignore[no-untyped-call]
        torch._check(width <= ids.shape[1])  # type: ignore[no-untyped-call]
    both_ids, both_masks = (ids, second_ids), (first_mask, second_mask)
    return torch.cat([x[:, :width] for x in both_ids]), torch.cat([x[:, :width] for x in both_masks])


AutoConfig.register("siamese", SiameseConfig)
AutoModelForSequenceClassification.register(SiameseConfig, SiameseForSequenceClassification)
