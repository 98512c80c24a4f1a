"""A head with a hidden layer, or with one logit for two classes, on any backbone.

transformers has no such head, so decant has to be installed to load a network with it.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import ImageClassifierOutput

from decant.core.errors import UserError


class MLPHeadConfig(PretrainedConfig):
    """The configuration of the backbone, and the shape of the head."""

    model_type = "mlp_head"

    def __init__(
        self,
        body: dict[str, object] | None = None,
        features: int = 1,
        hidden: int | None = None,
        one_logit: bool = False,
        first_token: bool = False,
        **rest: object,
    ) -> None:
        super().__init__(**rest)
        self.body = body or {"model_type": "bert"}
        self.features, self.hidden, self.one_logit, self.first_token = features, hidden, one_logit, first_token
        self.architecture_module = __name__  # models.directory imports it: transformers does not know it


class MLPHeadForClassification(PreTrainedModel):
    """Backbone, pooled output or first token, an optional hidden layer, logits."""

    config_class = MLPHeadConfig
    base_model_prefix = "backbone"

    def __init__(self, config: MLPHeadConfig) -> None:
        super().__init__(config)
        body = dict(config.body)
        self.backbone = AutoModel.from_config(AutoConfig.for_model(body.pop("model_type"), **body))
        self.main_input_name = self.backbone.main_input_name
        self.hidden = nn.Linear(config.features, config.hidden) if config.hidden else None
        self.classifier = nn.Linear(config.hidden or config.features, 1 if config.one_logit else config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            module.reset_parameters()

    def forward(self, *args: object, **inputs: object) -> ImageClassifierOutput:
        """Logits (B, C); one logit z gives (0, z), whose softmax is the sigmoid of z."""
        output = self.backbone(*args, **inputs)
        features = output.last_hidden_state[:, 0] if self.config.first_token else output.pooler_output.flatten(1)
        if self.hidden is not None:
            features = torch.relu(self.hidden(features))
        logits = self.classifier(features)
        if self.config.one_logit:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return ImageClassifierOutput(logits=logits)


AutoConfig.register("mlp_head", MLPHeadConfig)
for auto in (AutoModelForImageClassification, AutoModelForSequenceClassification):
    auto.register(MLPHeadConfig, MLPHeadForClassification)


def with_mlp_head(folder: Path, hidden: int | None, one_logit: bool, **head: Any) -> PreTrainedModel:
    """The pretrained backbone of `folder` under a new head.

    Raises:
        UserError: one logit for other than two classes; a backbone without an output that the head can read.
    """
    if one_logit and len(head["id2label"]) != 2:
        raise UserError(f"one_logit is for two classes, found {len(head['id2label'])}; set it to false")
    backbone, info = AutoModel.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    random_pooler = any(k.startswith("pooler") for k in info["missing_keys"])
    backbone.config.name_or_path = ""  # otherwise the folder would be saved in the configuration
    features, first_token = backbone_features(backbone, random_pooler)
    config = MLPHeadConfig(backbone.config.to_dict(), features, hidden, one_logit, first_token, **head)
    network = MLPHeadForClassification(config)
    network.backbone.load_state_dict(backbone.state_dict())
    print(f"{folder}: {network.num_parameters():,} parameters, new: the head")
    return network


@torch.no_grad()
def backbone_features(backbone: PreTrainedModel, random_pooler: bool) -> tuple[int, bool]:
    """How many features the head reads of a backbone, and whether they are of the first token, not the pooled output.

    It reads the first token of a backbone without a pooler, or with one that is not pretrained (`random_pooler`).

    Raises:
        UserError: the backbone has neither a pooled output nor tokens.
    """
    side = getattr(backbone.config, "image_size", 64)  # a vision transformer accepts only its own image size
    images = backbone.main_input_name == "pixel_values"
    output = backbone.eval()(torch.zeros(1, 3, side, side) if images else torch.ones(1, 4, dtype=torch.long))
    if output.get("pooler_output") is not None and not random_pooler:
        return int(output.pooler_output.flatten(1).shape[1]), False
    if output.last_hidden_state.dim() != 3:
        raise UserError(
            f"{type(backbone).__name__} has neither a pooled output nor tokens; leave out hidden and one_logit"
        )
    return int(output.last_hidden_state.shape[2]), True
